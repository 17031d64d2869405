// The first page: where the chain is and how it moves.

import { coarse, count, duration, quantile } from "./format.js";
import { h, panel, route, say } from "./dom.js";
import { figure, note } from "./charts.js";
import { PHASES } from "./live.js";
import { marketPanel } from "./market.js";
import { nodesPanel } from "./nodes.js";
import { accountLink, at, blockLink, range, stake, thesisLink } from "./values.js";

const SPAN_MS = 60_000; // of the small charts
const RATE_MS = 10_000; // over which the figure of transactions per second goes
const ROWS = 24;
const TAPE_ROWS = 12;

export async function overview(ctx) {
  ctx.title("Overview");
  await ctx.until("markets", () => ctx.live.known).catch(() => {}); // the page is of use without an answer too
  const market = h("div", { class: "hero", hidden: true });
  const tape = tapePanel(ctx);
  const body = h("div", { class: "overview" }, tiles(ctx), market, blocksPanel(ctx), ...charts(ctx), tape, nodesPanel(ctx, { small: true }));
  const show = () => {
    const has = ctx.live.markets.length > 0;
    body.classList.toggle("plainchain", !has);
    tape.hidden = market.hidden = !has;
    if (has && !market.firstChild) market.append(marketPanel(ctx));
  };
  ctx.on("markets", show);
  show();
  return [h("h1", { class: "sr" }, "Overview"), body];
}

// tiles are the figures at the top.
function tiles(ctx) {
  const { live } = ctx;
  const tile = (name) => {
    const big = h("b", {}, "–");
    const sub = h("small", {}, " ");
    const el = h("div", { class: "tile" }, h("span", {}, name), big, sub);
    return { el, set: (a, b, cls = "") => { say(big, a); say(sub, b); el.className = "tile " + cls; } };
  };
  const all = { height: tile("Height"), tps: tile("Transactions / s"), seal: tile("Block interval"), lag: tile("Lag"), oracle: tile("Price age"), open: tile("Open theses") };
  ctx.on("blocks", () => {
    const { head, blocks } = live;
    if (!head) return;
    const recent = since(blocks, head.time - RATE_MS);
    const minute = since(blocks, head.time - SPAN_MS);
    const txs = sum(recent, "txs") / Math.max(1, Math.min(RATE_MS, head.time - blocks[0].time) / 1000);
    const failed = sum(minute, "failed");
    const gaps = intervals(minute);
    all.height.set(count(head.height), `${count(head.txs)} transactions in it`);
    all.tps.set(txs >= 100 ? count(Math.round(txs)) : txs.toFixed(1), `${count(sum(minute, "txs"))} a minute, ${count(failed)} failed`);
    if (gaps.length) all.seal.set(`${quantile(gaps, 0.5)} ms`, `p99 ${quantile(gaps, 0.99)} ms of ${live.info?.interval_ms ?? "–"} ms`);
  });
  const status = () => {
    const s = live.status;
    if (!s) return;
    all.lag.set(duration(s.lag_ms), s.role === "write" ? "behind the clock" : `${count(s.lag)} blocks behind its source`, s.lag_ms > live.patience() ? "bad" : "");
    all.oracle.set(s.oracle.timestamp ? duration(s.oracle.age_ms) : "none", s.oracle.stale ? "stale" : "fresh", s.oracle.stale ? "bad" : "");
  };
  const open = () => {
    const n = live.markets.reduce((n, m) => n + m.open_theses, 0);
    const interest = live.markets.reduce((v, m) => v + BigInt(m.open_interest), 0n);
    all.open.set(count(n), `${coarse(interest, 0)} at stake`);
  };
  ctx.on("status", status);
  ctx.on("markets", () => {
    all.open.el.hidden = live.markets.length === 0;
    open();
  });
  ctx.on("theses", () => {
    let n = 0;
    let interest = 0n;
    for (const t of live.theses.values()) {
      if (t.outcome) continue;
      n++;
      interest += BigInt(t.payout);
    }
    all.open.set(count(n), `${coarse(interest, 0)} at stake`);
  });
  all.open.el.hidden = live.markets.length === 0;
  return h("div", { class: "tiles", "aria-label": "Key figures" }, Object.values(all).map((t) => t.el));
}

const since = (blocks, from) => blocks.slice(blocks.findIndex((b) => b.time > from));
const sum = (blocks, what) => blocks.reduce((n, b) => n + b[what], 0);
const intervals = (blocks) => blocks.slice(1).map((b, i) => b.time - blocks[i].time);

// blocksPanel is the newest blocks, as they come.
function blocksPanel(ctx) {
  const list = h("ol", { class: "feed blocks", "aria-label": "Newest blocks" });
  let top = -1;
  ctx.on("blocks", () => {
    const { blocks } = ctx.live;
    if (blocks.length && blocks.at(-1).height < top) { // blocks were taken back
      list.replaceChildren();
      top = -1;
    }
    for (const b of blocks.slice(-ROWS)) {
      if (b.height <= top) continue;
      top = b.height;
      list.prepend(blockRow(b));
    }
    while (list.children.length > ROWS) list.lastChild.remove();
  });
  return panel("Blocks", list, { cls: "side first", extra: h("a", { href: "#/blocks" }, "All blocks") });
}

function blockRow(b) {
  const bar = h("i", { class: "fill" + (b.failed ? " some-failed" : "") });
  bar.style.width = `${Math.min(100, 100 * Math.sqrt(b.txs / 400))}%`;
  return h("li", {}, blockLink(b.height), h("span", { class: "bar", "aria-hidden": "true" }, bar),
    h("span", { class: "num" }, `${count(b.txs)} tx`), h("span", { class: "soft" }, at(b.time)));
}

// charts are transactions, seals and lag over the last minute.
function charts(ctx) {
  const { live } = ctx;
  const chain = () => live.now();
  const make = (title, sub, event, options) => {
    const host = h("div", { class: "figure" });
    const legend = h("span", { class: "legend" }, sub);
    ctx.whenShown(host, () => {
      const chart = figure(host, { span: SPAN_MS, ...options });
      ctx.on(event, throttle(() => {
        chart.update();
        note(host, options.data()[0].length ? "" : "waiting for the first figures");
      }, 200));
      ctx.end(chart.destroy);
    });
    return panel(title, host, { cls: "third", extra: legend });
  };
  const work = h("span", {}, "work on one");
  ctx.end(live.measure());
  ctx.on("work", () => live.work.length && say(work, `work on one: ${live.work.at(-1).ms.toFixed(1)} ms`));
  const key = (color, text) => h("span", { class: "key " + color }, text);
  return [
    make("Transactions per second", key("price", "executed"), "blocks", {
      series: [{ color: "price", style: "bars" }], data: () => perSecond(live.blocks, live.now()), now: chain, format: short,
    }),
    make("Seals", [key("open", "apart"), key("win", work), key("dash", "target")], "blocks", {
      series: [{ color: "open", style: "line" }, { color: "win", style: "line" }], mark: () => live.info?.interval_ms ?? 0, format: span,
      data: () => seals(live.blocks, live.work), now: chain,
    }),
    make("Lag and price age", [key("amber", "lag"), key("win", "price")], "status", {
      series: [{ color: "amber", style: "area" }, { color: "win", style: "line" }], now: Date.now, format: span,
      data: () => [live.samples.map((s) => s.t), live.samples.map((s) => s.lag), live.samples.map((s) => s.oracle)],
    }),
  ];
}

const span = (ms) => (ms >= 1000 ? `${short(ms / 1000)} s` : `${short(ms)} ms`);
const short = (v) => (v >= 10_000 ? `${Math.round(v / 1000)}k` : Number.isInteger(v) ? count(v) : v.toFixed(1));

// perSecond counts transactions in whole seconds; the one that is not over yet is
// left out.
function perSecond(blocks, now) {
  const counts = new Map();
  for (const b of blocks.slice(1)) {
    const s = Math.floor(b.time / 1000);
    if (s >= Math.floor(now / 1000) || b.time < now - SPAN_MS - 1000) continue;
    counts.set(s, (counts.get(s) ?? 0) + b.txs);
  }
  const seconds = [...counts.keys()];
  return [seconds.map((s) => s * 1000), seconds.map((s) => counts.get(s))];
}

// seals is how far apart blocks are, and how long they took where that is known.
function seals(blocks, work) {
  const times = blocks.slice(1).map((b) => b.time);
  let i = 0;
  const took = times.map((t) => {
    while (i < work.length && work[i].t < t) i++;
    return work[i]?.ms ?? null;
  });
  return [times, intervals(blocks), took];
}

export function throttle(f, ms) {
  let last = 0;
  return () => {
    const now = performance.now();
    if (now - last < ms) return;
    last = now;
    f();
  };
}

// tapePanel is what happens to theses, newest first.
function tapePanel(ctx) {
  const list = h("ol", { class: "feed tape", "aria-label": "What happened to theses" });
  let first = null;
  ctx.on("theses", () => {
    const { tape } = ctx.live;
    const known = tape.indexOf(first);
    const fresh = known < 0 ? tape : tape.slice(0, known);
    if (known < 0) list.replaceChildren();
    list.prepend(...fresh.map(tapeRow));
    while (list.children.length > TAPE_ROWS) list.lastChild.remove();
    first = tape[0] ?? null;
  });
  return panel("Theses", list, { cls: "wide", extra: h("a", { href: "#/theses" }, "All theses") });
}

function tapeRow({ kind, thesis: t, time }) {
  const [text, cls] = kind === "created" ? ["Opened", "open"] : PHASES[kind];
  return h("li", {}, h("i", { class: "tag " + cls }, text), thesisLink(t.id), h("a", { href: route("market", t.pair) }, t.pair), range(t), stake(t),
    h("span", { class: "who" }, accountLink(t.user)), h("span", { class: "soft" }, at(time)));
}
