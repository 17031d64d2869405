// Starts the page: the connection, the frame around every view, routes, keys.

import { duration } from "./format.js";
import { fill, h, route, say } from "./dom.js";
import { Live } from "./live.js";
import { account, block, blocks, search, transaction } from "./explore.js";
import { market, markets, theses } from "./market.js";
import { agreement, changes, know, nodes, remember } from "./nodes.js";
import { overview } from "./overview.js";
import { thesis } from "./thesis.js";

const views = { "": overview, markets, market, theses, thesis, blocks, block, tx: transaction, account, nodes, search };

// What is lit in the navigation while a view is shown.
const sections = { market: "markets", thesis: "theses", block: "blocks", tx: "blocks" };

const $ = (id) => document.getElementById(id);
const socket = new URL("ws", location.href);
socket.protocol = location.protocol === "https:" ? "wss:" : "ws:";
socket.hash = "";
const live = new Live(socket.href);

// Context is what a view gets: the chain, and ways to take part in the page's life
// that end with the view.
class Context {
  #ends = [];
  #over = false;
  back = null; // addresses that the arrow keys lead to
  forth = null;

  constructor() {
    this.live = live;
  }

  get over() {
    return this.#over;
  }

  title(text) {
    if (!this.#over) document.title = text === "Overview" ? "Kaizen" : `${text} · Kaizen`;
  }

  steps(back, forth) {
    this.back = back || null;
    this.forth = forth || null;
  }

  // on calls f when what changes, and once at the start.
  on(what, f) {
    if (this.#over) return;
    live.addEventListener(what, f);
    this.end(() => live.removeEventListener(what, f));
    queueMicrotask(() => this.#over || f());
  }

  end(f) {
    if (this.#over) f();
    else this.#ends.push(f);
  }

  // whenShown calls f once el is in the document and has a size: a chart needs one.
  whenShown(el, f) {
    const watch = new ResizeObserver(() => {
      if (el.clientWidth === 0) return;
      watch.disconnect();
      if (!this.#over) f();
    });
    watch.observe(el);
    this.end(() => watch.disconnect());
  }

  // until waits for test to hold, looking when what changes; 5 s at most.
  until(what, test) {
    if (test()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the node does not answer; this page goes on trying")), 5000);
      this.on(what, () => {
        if (!test()) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  // run does what may fail, and says so where it would have been seen.
  async run(f, where) {
    try {
      await f();
    } catch (e) {
      if (!this.#over) fill(where, trouble(e));
    }
  }

  close() {
    this.#over = true;
    for (const f of this.#ends) f();
  }
}

let current = null;
let failed = false; // the view that is shown could not be drawn

// show draws the view that the address names.
async function show() {
  const shown = location.hash;
  const { parts, query } = address();
  for (const url of query.getAll("with")) know(url, false);
  const [name, ...args] = parts;
  current?.close();
  const ctx = new Context();
  current = ctx;
  light(name);
  const main = $("main");
  main.classList.add("loading");
  failed = false;
  let content;
  try {
    if (!Object.hasOwn(views, name)) throw new Error(`there is no page “${name}”`);
    content = await views[name](ctx, ...args);
  } catch (e) {
    failed = true;
    content = [h("h1", {}, "Not here"), trouble(e)];
  }
  if (ctx.over) return; // somebody went on meanwhile
  fill(main, content);
  main.classList.remove("loading");
  main.dataset.route = shown; // what is drawn now: for those who watch, such as tests
  if (moved) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  moved = true;
}

let moved = false; // whether this is not the first view: then it gets the focus

// address is the view, its arguments and the rest of the address.
function address() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map((p) => {
    try {
      return decodeURIComponent(p);
    } catch {
      return p; // typed by hand: as it is
    }
  });
  return { parts, query: new URLSearchParams(query) };
}

function trouble(e) {
  if (!e.errorName) console.debug(e);
  return h("section", { class: "panel trouble" }, h("p", {}, e.message),
    h("button", { type: "button", onclick: () => show() }, "Try again"));
}

function light(name) {
  const section = sections[name] ?? name;
  for (const a of $("nav").children) {
    if (a.getAttribute("href") === (section ? "#/" + section : "#/")) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
}

// condition says how the node is: class, word, and a sentence if something is
// wrong.
function condition() {
  const { link, status } = live;
  if (link.state !== "open") {
    if (!live.info && link.state === "connecting") return ["quiet", "Connecting", ""];
    const wait = Math.max(0, link.retryAt - performance.now());
    return ["bad", "Down", `The node does not answer. What is shown is from before; next try ${wait > 0 ? "in " + Math.ceil(wait / 1000) + " s" : "now"}.`];
  }
  if (status?.alarm) return ["bad", "Holding", `The node holds at block ${status.height}: ${status.alarm}`];
  const { bad } = agreement(live);
  if (bad.length) return ["bad", "Disagreement", `${bad[0].url} has another state root than this node at block ${bad[0].verdict.height}.`];
  if (live.silence() > live.patience()) return ["warn", "Stale", `No new block for ${duration(live.silence())}: the write node stands still, or this node has lost it.`];
  if (!live.head) return ["quiet", "Waiting", ""];
  if (status?.oracle.stale && live.markets.length) return ["warn", "Live", `Prices are stale: the newest is ${status.oracle.timestamp ? duration(status.oracle.age_ms) + " old" : "still to come"}. Blocks go on; what depends on prices is refused.`];
  return ["good", "Live", ""];
}

function frame() {
  const [cls, word, sentence] = condition();
  const state = $("state");
  state.className = "state " + cls;
  say(state.querySelector("b"), word);
  const banner = $("banner");
  banner.className = cls;
  banner.hidden = sentence === "";
  say(banner, sentence);
  document.body.classList.toggle("old", live.link.state !== "open" && live.info !== null);
  const i = live.info;
  if (!i) return;
  say($("who"), `chain ${i.chain_id} · ${i.role} node`);
  say($("foot"), `Kaizen ${i.versions.kaizen} · module ${i.module.name} ${i.module.version} · genesis ${i.genesis_hash}`);
  for (const a of $("nav").children) {
    if (a.hidden && live.markets.length > 0) a.hidden = false;
  }
}

// Keys, as the help lists them.
const keys = [
  ["/", "Search", () => $("search").elements.q.focus()],
  ["o", "Overview", () => { location.hash = "#/"; }],
  ["m", "Markets", () => live.markets.length && (location.hash = "#/markets")],
  ["h", "Theses", () => live.markets.length && (location.hash = "#/theses")],
  ["b", "Blocks", () => { location.hash = "#/blocks"; }],
  ["n", "Nodes", () => { location.hash = "#/nodes"; }],
  ["ArrowLeft", "Previous block or thesis, older page", () => current?.back && (location.hash = current.back)],
  ["ArrowRight", "Next block or thesis, newer page", () => current?.forth && (location.hash = current.forth)],
  ["t", "Dark or light", () => globalThis.switchTheme()],
  ["f", "Full screen, for a wall", () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen())],
  ["?", "This list", () => $("keys").showModal()],
];

function keyboard() {
  const names = { ArrowLeft: "←", ArrowRight: "→" };
  fill($("keys"), h("h2", {}, "Keyboard"), h("dl", {}, keys.map(([key, what]) => [h("dt", {}, h("kbd", {}, names[key] ?? key)), h("dd", {}, what)])),
    h("button", { type: "button", onclick: () => $("keys").close() }, "Close"));
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || $("keys").open) return;
    if (e.target.closest("input, textarea, select")) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    const found = keys.find(([key]) => key === e.key);
    if (!found) return;
    e.preventDefault();
    found[2]();
  });
}

function controls() {
  $("search").addEventListener("submit", (e) => {
    e.preventDefault();
    const { q } = e.target.elements;
    if (q.value.trim() === "") return;
    location.hash = route("search", q.value.trim());
    q.value = "";
    q.blur();
  });
  $("theme").addEventListener("click", () => globalThis.switchTheme());
  $("help").addEventListener("click", () => $("keys").showModal());
  document.querySelector(".skip").addEventListener("click", (e) => {
    e.preventDefault(); // the fragment is the address of the view
    $("main").focus();
  });
}

keyboard();
controls();
for (const e of ["link", "info", "status", "markets", "blocks"]) live.addEventListener(e, frame);
changes.addEventListener("nodes", frame);
setInterval(frame, 500); // what is about time passing
addEventListener("hashchange", show);
live.addEventListener("info", () => failed && show()); // the node is back
remember(live);
await show();
