// How this node is, and whether others that the user names have the same chain:
// the same state root at the same height.

import { count, duration, short } from "./format.js";
import { copyable, facts, fill, h, panel, say, table } from "./dom.js";
import { ask } from "./rpc.js";

const POLL_MS = 2000;
const MOST = 16; // other nodes
const STORE = "kaizen.nodes";

// Other nodes: those that were added here, and those that the link that led here
// named, for as long as this tab lives.
const others = new Map(); // by url: {url, kept, info, status, error, verdict}
let comparing = false;

const stored = (storage) => {
  try {
    const list = JSON.parse(storage.getItem(STORE) ?? "[]");
    return Array.isArray(list) ? list.filter((x) => typeof x === "string") : [];
  } catch {
    return []; // storage is forbidden, or holds what this page did not write
  }
};

function store() {
  for (const [storage, kept] of [[() => localStorage, true], [() => sessionStorage, false]]) {
    try {
      storage().setItem(STORE, JSON.stringify([...others.values()].filter((o) => o.kept === kept).map((o) => o.url)));
    } catch {
      // They are forgotten when the page is closed.
    }
  }
}

// addressOf is an address as it is compared and kept, or null.
function addressOf(text) {
  const given = text.trim();
  try {
    const u = new URL(/^https?:\/\//.test(given) ? given : "http://" + given);
    return given !== "" && u.username === "" && u.password === "" ? u.origin + u.pathname : null;
  } catch {
    return null;
  }
}

// know adds a node; kept: until it is removed.
export function know(text, kept) {
  const url = addressOf(text);
  if (!url || others.has(url) || others.size >= MOST) return false;
  if (new URL(url).host === location.host) return false; // this one
  others.set(url, { url, kept, info: null, status: null, error: null, verdict: null });
  store();
  return true;
}

// remember brings back what was known, and begins to compare.
export function remember(live) {
  for (const url of safely(() => localStorage)) know(url, true);
  for (const url of safely(() => sessionStorage)) know(url, false);
  const run = async () => {
    if (!document.hidden && !comparing) await compare(live);
    setTimeout(run, POLL_MS);
  };
  run();
}

function safely(storage) {
  try {
    return stored(storage());
  } catch {
    return []; // as above
  }
}

export const changes = new EventTarget();

// compare asks every node where it is, and all of them for their root at the
// highest height that all of them have.
async function compare(live) {
  if (others.size === 0) {
    changes.dispatchEvent(new Event("nodes"));
    return;
  }
  comparing = true;
  await Promise.all([...others.values()].map(meet));
  const here = live.link.state === "open" ? live.status : null;
  const alike = [...others.values()].filter((o) => o.status && live.info && o.info.genesis_hash === live.info.genesis_hash);
  if (here && alike.length > 0) {
    const height = Math.min(here.height, ...alike.map((o) => o.status.height));
    const mine = await live.call("kaizen_getHeader", [height]).catch(() => null);
    await Promise.all(alike.map(async (o) => {
      const theirs = await ask(o.url, "kaizen_getHeader", [height]).catch(() => null);
      o.verdict = mine && theirs ? { height, same: theirs.state_root === mine.state_root && theirs.hash === mine.hash, root: theirs.state_root, mine: mine.state_root } : null;
    }));
  }
  comparing = false;
  changes.dispatchEvent(new Event("nodes"));
}

async function meet(o) {
  try {
    o.info ??= await ask(o.url, "kaizen_info");
    o.status = await ask(o.url, "kaizen_status");
    o.error = null;
  } catch (e) {
    o.info = o.status = o.verdict = null;
    o.error = e.message;
  }
}

// judge is what to say of a node, and the class that colours it.
function judge(o, live) {
  if (o.error) return ["unreachable", "soon"];
  if (!o.status) return ["asking", "quiet"];
  if (live.info && o.info.genesis_hash !== live.info.genesis_hash) return ["another chain", "soon"];
  if (!o.verdict) return ["not compared", "quiet"];
  return o.verdict.same ? ["same root", "win"] : ["OTHER ROOT", "loss"];
}

// agreement is what all of them come to.
export function agreement(live) {
  const all = [...others.values()];
  const bad = all.filter((o) => o.verdict && !o.verdict.same);
  const good = all.filter((o) => o.verdict?.same);
  return { bad, good, height: good[0]?.verdict.height ?? null };
}

// nodesPanel is the short list on the first page, and the long one on its own.
export function nodesPanel(ctx, { small = false } = {}) {
  const { live } = ctx;
  const list = h("div");
  const update = () => {
    if (!small && list.contains(document.activeElement)) return;
    const rows = [hereRow(live), ...[...others.values()].map((o) => row(o, live, update))];
    fill(list, small ? h("ul", { class: "nodes" }, rows.map((r) => h("li", {}, h("i", { class: "tag " + r.cls }, r.text), h("span", { class: "name", title: r.url }, r.name),
      h("span", { class: "num" }, r.height), h("span", { class: "soft num" }, r.lag)))) : nodesTable(rows));
    if (small) list.append(h("p", { class: "soft" }, summary(live)));
  };
  changes.addEventListener("nodes", update);
  ctx.end(() => changes.removeEventListener("nodes", update));
  ctx.on("status", update);
  update();
  return panel("Nodes", list, { cls: "side", extra: small ? h("a", { href: "#/nodes" }, "Compare") : null });
}

function summary(live) {
  const { bad, good, height } = agreement(live);
  if (bad.length) return `${bad[0].url} has another state root at block ${count(bad[0].verdict.height)}.`;
  if (good.length) return `All have the same state root at block ${count(height)}.`;
  return others.size ? "No other node can be compared." : "Name other nodes, and their state roots are compared with this one's.";
}

function hereRow(live) {
  const s = live.status;
  const down = live.link.state !== "open";
  return { url: location.origin, name: `${location.host} (this node)`, role: s?.role ?? "", height: s ? count(s.height) : "", lag: s ? duration(s.lag_ms) : "",
    root: s ? short(s.state_root, 8) : "", text: down ? "down" : s?.alarm ? "holding" : "this node", cls: down || s?.alarm ? "loss" : "open", detail: s?.alarm ?? "", remove: null };
}

function row(o, live, update) {
  const [text, cls] = judge(o, live);
  const remove = h("button", { type: "button", class: "small", "aria-label": "Remove " + o.url, onclick: () => {
    others.delete(o.url);
    store();
    document.activeElement?.blur();
    update();
  } }, "Remove");
  return { url: o.url, name: o.url.replace(/^https?:\/\/|\/$/g, ""), role: o.status?.role ?? "", height: o.status ? count(o.status.height) : "", lag: o.status ? duration(o.status.lag_ms) : "",
    root: o.verdict ? `${short(o.verdict.root, 8)} at ${count(o.verdict.height)}` : "", text, cls, detail: o.error ?? o.status?.alarm ?? "", remove };
}

function nodesTable(rows) {
  return table([["Node", ""], ["Role", ""], ["Height", "r"], ["Lag", "r"], ["State root", ""], ["Verdict", ""], ["", ""], ["", ""]], rows.map((r) => [
    h("a", { href: r.url, target: "_blank", rel: "noopener noreferrer" }, r.name), r.role, h("span", { class: "num" }, r.height), h("span", { class: "num" }, r.lag),
    h("span", { class: "mono" }, r.root), h("i", { class: "tag " + r.cls }, r.text), h("span", { class: "soft" }, r.detail), r.remove ?? "",
  ]), "none");
}

// nodes is the page: this node's health, and the comparison.
export function nodes(ctx) {
  ctx.title("Nodes");
  const { live } = ctx;
  const health = h("div");
  const figures = h("div");
  const peers = h("div");
  const about = h("div");
  const update = () => {
    fill(health, live.ready ? h("ul", { class: "checks" }, live.ready.checks.map((c) => h("li", { class: c.ok ? "ok" : "bad" }, h("i", { class: "tag " + (c.ok ? "win" : "loss") }, c.ok ? "ok" : "not"), h("b", {}, c.name.replaceAll("_", " ")), h("span", { class: "soft" }, c.detail))))
      : h("p", { class: "empty" }, "asking"));
    if (live.info) fill(about, aboutFacts(live.info));
    const s = live.status;
    if (!s) return;
    fill(figures, facts([
      ["Role", s.role], ["Up for", duration(s.uptime_ms)], ["Height", count(s.height)], ["State root", copyable(s.state_root)], ["Lag", `${count(s.lag)} blocks, ${duration(s.lag_ms)}`],
      ["Proposed", count(s.tips.proposed.height)], ["Finalized", count(s.tips.finalized.block.height)],
      ["Prices", s.oracle.timestamp ? `${duration(s.oracle.age_ms)} old, ${s.oracle.stale ? "stale" : "fresh"}` : "none"],
      s.pending && ["Open block", `${count(s.pending.height)}, ${count(s.pending.transactions)} transactions so far`], s.alarm && ["Alarm", h("b", { class: "loss-ink" }, s.alarm)],
    ]));
    fill(peers, table([["Sync connection", ""], ["Direction", ""], ["Height", "r"], ["", ""]],
      s.peers.map((p) => [h("span", { class: "mono" }, p.address), p.direction, h("span", { class: "num" }, p.height ? count(p.height) : ""), p.connected ? "" : "lost"]), "none"));
  };
  const slow = () => document.activeElement?.closest(".live") || document.getSelection()?.toString() || update();
  ctx.on("status", slow);
  ctx.on("info", slow);
  update();
  return [h("h1", {}, "Nodes"), nodesPanel(ctx), adder(live),
    h("div", { class: "grid2 live" }, panel("This node", figures), panel("Readiness", health, { extra: live.ready ? null : "" }), panel("Peers", peers), panel("About", about))];
}

function aboutFacts(i) {
  return facts([["Chain", `${i.chain_id}`], ["Genesis", copyable(i.genesis_hash)], ["Module", `${i.module.name} ${i.module.version}`], ["Module hash", copyable(i.module_hash)],
    ["Sequencer", copyable(i.sequencer)], ["Interval", `${i.interval_ms} ms, at most ${count(i.max_txs_per_block)} transactions`], ["Prices stale after", duration(i.max_stale_ms)],
    ["Versions", `kaizen ${i.versions.kaizen}, ${i.versions.go}, API ${i.versions.api}, ABI ${i.versions.abi}, blocks ${i.versions.block}, sync ${i.versions.sync}`]]);
}

function adder(live) {
  const input = h("input", { type: "text", name: "url", placeholder: "http://host:8545", maxlength: "200", autocomplete: "off", spellcheck: "false", "aria-label": "RPC address of another node" });
  const said = h("p", { class: "soft", role: "status" }, `Compared by this browser: the other node has to allow it, with rpc.allowed_origins = ["${location.origin}"].`);
  const form = h("form", { class: "adder", onsubmit: (e) => {
    e.preventDefault();
    if (know(input.value, true)) {
      input.value = "";
      say(said, "Added.");
      compare(live);
    } else {
      say(said, "That is not the address of another node, or it is there already.");
    }
  } }, input, h("button", { type: "submit" }, "Add node"));
  return panel("Compare with another node", [form, said]);
}
