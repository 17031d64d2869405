// Charts, drawn by uPlot on canvases: small ones of a figure over time, and the
// price with theses as boxes over it. Colours are the style sheet's.

import { amount, clock, decimals, price as priceText, seconds, units } from "./format.js";
import { drawing, h, say } from "./dom.js";
import { PHASES, phase } from "./live.js";

const uPlot = globalThis.uPlot;

// color is a colour of the style sheet, #rrggbb there, in the theme that is shown.
let palette = new Map();
function color(name, alpha = 1) {
  let rgb = palette.get(name);
  if (!rgb) {
    const hex = getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
    rgb = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(" ");
    palette.set(name, rgb);
  }
  return `rgb(${rgb} / ${alpha})`;
}

const shown = new Set();
document.addEventListener("theme", () => {
  palette = new Map();
  for (const c of shown) c.redraw(false, true);
});

const FONT = '11px Inter, system-ui, -apple-system, "Segoe UI", sans-serif';

// mount puts a uPlot into host and keeps it as wide and high as host is.
function mount(host, options, data) {
  const u = new uPlot({ width: host.clientWidth || 300, height: host.clientHeight || 120, ms: 1, legend: { show: false }, ...options }, data, host);
  shown.add(u);
  const sizes = new ResizeObserver(() => {
    if (host.clientWidth > 0 && host.clientHeight > 0) u.setSize({ width: host.clientWidth, height: host.clientHeight });
  });
  sizes.observe(host);
  return [u, () => {
    sizes.disconnect();
    shown.delete(u);
    u.destroy();
  }];
}

function axes(format, width, xs = true) {
  const common = { stroke: () => color("ink-3"), font: FONT, grid: { stroke: () => color("grid"), width: 1 }, ticks: { show: false } };
  return [
    { ...common, show: xs, size: 24, gap: 4, space: 80, grid: { show: false }, values: (u, ts) => ts.map((t) => (u.valToPos(t, "x") < 26 ? "" : clock(t))) },
    { ...common, side: 1, size: width, gap: 8, space: 34, values: (_, vs) => vs.map((v) => (v === null ? "" : format(v))) },
  ];
}

// figure is a small chart: series are [{color, style: "bars" | "line" | "area"}],
// data() gives [xs, ys, …] with xs in ms; span ms up to now() are shown.
export function figure(host, { series, data, format, span, now, mark = null }) {
  const bars = uPlot.paths.bars({ size: [0.8, 14], align: 1 });
  const [u, destroy] = mount(host, {
    padding: [10, 0, 0, 4], cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { x: { range: () => [now() - span, now()] }, y: { range: (_, lo, hi) => [0, Math.max(hi * 1.15, mark ? mark() * 1.3 : 0, 1)] } },
    axes: axes(format, 52),
    series: [{}, ...series.map((s) => ({
      stroke: () => color(s.color), width: s.style === "bars" ? 0 : 1.5, points: { show: false }, paths: s.style === "bars" ? bars : undefined,
      fill: s.style === "line" ? undefined : () => color(s.color, s.style === "bars" ? 0.6 : 0.14),
    }))],
    hooks: { drawAxes: mark ? [(u) => level(u, mark())] : [] },
  }, data());
  return { update: () => u.setData(data()), destroy };
}

// level draws a dashed line across at y.
function level(u, y) {
  const at = Math.round(u.valToPos(y, "y", true)) + 0.5;
  const c = u.ctx;
  c.save();
  c.strokeStyle = color("ink-3", 0.7);
  c.setLineDash([3 * devicePixelRatio, 4 * devicePixelRatio]);
  c.beginPath();
  c.moveTo(u.bbox.left, at);
  c.lineTo(u.bbox.left + u.bbox.width, at);
  c.stroke();
  c.restore();
}

// How a thesis looks in each phase: colour, and how strong its edge and inside are.
const LOOKS = {
  created: ["open", 0.55, 0.03], active: ["open", 0.75, 0.07], challenge: ["open", 0.5, 0.05], due: ["open", 0.5, 0.05],
  user_wins: ["win", 0.75, 0.13], solver_wins: ["loss", 0.75, 0.13], void: ["ink-3", 0.6, 0.08], cancelled: ["ink-3", 0.6, 0.08],
};
const FLASH_MS = 1600; // how long a thesis that was just settled glows
const FADE_MS = 180_000; // after it was settled, it is as faint as it gets

// priceChart draws prices in steps, as they were in force, and theses over them.
//
//	points()  {t: [ms], p: [price]}
//	theses()  what to draw, any order
//	range()   [from, to] of the time axis, ms
//	now()     where the line of the present is; null: none
//	pick(t)   a thesis was clicked; null: nothing to click
export function priceChart(host, { points, theses, range, now, pick = null, lone = false }) {
  let hovered = null;
  const tip = h("div", { class: "tip", hidden: true });
  const data = () => {
    const { t, p } = points();
    const at = now();
    // The last price is in force until there is another one.
    if (at === null || t.length === 0 || t.at(-1) >= at) return [t, p];
    return [[...t, at], [...p, p.at(-1)]];
  };
  const visible = () => {
    const [from, to] = range();
    return [...theses()].filter((t) => t.end >= from && t.start <= to);
  };
  const yRange = () => {
    const [from, to] = range();
    return extent(points(), visible(), from, to, lone);
  };
  const [u, destroy] = mount(host, {
    padding: [14, 0, 0, 0], cursor: { drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { range: () => range() }, y: { range: yRange } },
    axes: axes((v) => plain(v), 84),
    series: [{}, { stroke: () => color("price"), width: 1.8, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) }],
    hooks: {
      drawAxes: [(u) => {
        const list = order(visible());
        const crowd = Math.min(1, Math.max(0.18, 16 / list.length)); // many are fainter each
        for (const t of list) box(u, t, now() ?? t.due + 1, t === hovered, lone, crowd);
      }],
      draw: [(u) => present(u, points(), now())],
      setCursor: [(u) => {
        const was = hovered;
        hovered = lone ? null : under(u, visible());
        tip.hidden = !hovered;
        u.over.classList.toggle("pickable", hovered !== null);
        if (hovered) place(u, tip, hovered, now());
        if (was !== hovered) u.redraw(false);
      }],
    },
  }, data());
  u.over.append(tip);
  if (pick) u.over.addEventListener("click", () => hovered && pick(hovered));
  return { update: () => u.setData(data()), destroy };
}

// extent is what the price axis shows: the prices, and theses near them.
function extent({ t, p }, theses, from, to, lone) {
  let lo = Infinity;
  let hi = -Infinity;
  const first = Math.max(0, t.findIndex((x) => x >= from) - 1);
  for (let i = first; i < t.length && t[i] <= to; i++) {
    if (p[i] < lo) lo = p[i];
    if (p[i] > hi) hi = p[i];
  }
  if (lo > hi) [lo, hi] = theses.length ? [theses[0].lower, theses[0].upper] : [0, 1];
  const room = lone ? Infinity : Math.max((hi - lo) * 0.6, hi * 1e-5);
  const [low, high] = [lo - room, hi + room];
  for (const x of theses) {
    if (!lone && x.outcome) continue;
    lo = Math.min(lo, Math.max(x.lower, low));
    hi = Math.max(hi, Math.min(x.upper, high));
  }
  const margin = (hi - lo) * 0.07 || hi * 1e-4 || 1;
  return [lo - margin, hi + margin];
}

// order puts what is settled below what is open, and old below new.
function order(theses) {
  return theses.sort((a, b) => (a.outcome === null) - (b.outcome === null) || a.start - b.start);
}

// edges are a thesis's sides in pixels of the canvas, or of the page.
function edges(u, t, canvas = true) {
  return { x0: u.valToPos(t.start, "x", canvas), x1: u.valToPos(t.end, "x", canvas), y0: u.valToPos(t.upper, "y", canvas), y1: u.valToPos(t.lower, "y", canvas) };
}

function box(u, t, now, hovered, lone, crowd) {
  const { x0, x1, y0, y1 } = edges(u, t);
  const [name, edge, inside] = LOOKS[phase(t, now)];
  const glow = t.seenSettled ? Math.max(0, 1 - (performance.now() - t.seenSettled) / FLASH_MS) : 0;
  const fade = t.outcome && !lone ? Math.max(0.35, 1 - (now - t.settledAt) / FADE_MS) : 1;
  const strong = hovered || lone ? 2.2 : 1;
  const px = devicePixelRatio;
  const c = u.ctx;
  c.save();
  c.beginPath();
  c.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  c.clip();
  c.fillStyle = color(name, Math.min(0.8, (inside * crowd * fade + 0.22 * glow) * strong));
  c.strokeStyle = color(name, Math.min(1, (edge * fade * (0.25 + 0.35 * crowd) + 0.8 * glow) * strong));
  c.lineWidth = (hovered || lone ? 1.6 : 1) * px;
  if (phase(t, now) === "created") c.setLineDash([4 * px, 4 * px]);
  // What came after a breach did not matter any more.
  const over = t.breachTime ? Math.min(x1, u.valToPos(t.breachTime, "x", true)) : x1;
  c.fillRect(x0, y0, over - x0, y1 - y0);
  c.strokeRect(x0, y0, over - x0, y1 - y0);
  if (over < x1) {
    c.setLineDash([2 * px, 4 * px]);
    c.strokeStyle = color(name, edge * fade * (lone ? 0.6 : 0.22));
    c.strokeRect(over, y0, x1 - over, y1 - y0);
  }
  if (lone && t.due > t.end) challenge(u, t, x1, y0, y1);
  if (t.breachTime) breach(u, t, fade);
  c.restore();
}

// challenge hints at the challenge window behind the thesis's end.
function challenge(u, t, x1, y0, y1) {
  const c = u.ctx;
  c.setLineDash([2 * devicePixelRatio, 5 * devicePixelRatio]);
  c.strokeRect(x1, y0, u.valToPos(t.due, "x", true) - x1, y1 - y0);
}

// breach marks the price that left the range.
function breach(u, t, fade) {
  const x = u.valToPos(t.breachTime, "x", true);
  const y = u.valToPos(units(t.breachPrice), "y", true);
  const r = 3 * devicePixelRatio;
  const c = u.ctx;
  c.setLineDash([]);
  c.strokeStyle = color("loss", fade);
  c.lineWidth = 1.6 * devicePixelRatio;
  c.beginPath();
  c.moveTo(x - r, y - r);
  c.lineTo(x + r, y + r);
  c.moveTo(x - r, y + r);
  c.lineTo(x + r, y - r);
  c.stroke();
}

// present draws the line of now, and the last price with its value on the axis.
function present(u, { t, p }, now) {
  if (now === null || t.length === 0) return;
  const px = devicePixelRatio;
  const x = u.valToPos(now, "x", true);
  const y = u.valToPos(p.at(-1), "y", true);
  const { left, top, width, height } = u.bbox;
  const c = u.ctx;
  c.save();
  c.strokeStyle = color("price", 0.35);
  c.setLineDash([2 * px, 4 * px]);
  c.beginPath();
  c.moveTo(left, y);
  c.lineTo(left + width, y);
  c.stroke();
  if (x >= left && x <= left + width) {
    c.strokeStyle = color("ink-3", 0.6);
    c.setLineDash([]);
    c.beginPath();
    c.moveTo(x, top);
    c.lineTo(x, top + height);
    c.stroke();
    c.fillStyle = color("price", 0.25);
    c.beginPath();
    c.arc(x, y, 7 * px, 0, 7);
    c.fill();
    c.fillStyle = color("price");
    c.beginPath();
    c.arc(x, y, 3 * px, 0, 7);
    c.fill();
  }
  label(c, plain(p.at(-1)), left + width + 4 * px, y, px);
  c.restore();
}

function label(c, text, x, y, px) {
  c.font = `600 ${11 * px}px Inter, system-ui, sans-serif`;
  c.textBaseline = "middle";
  c.textAlign = "left";
  const w = c.measureText(text).width + 10 * px;
  c.fillStyle = color("price");
  c.beginPath();
  c.roundRect(x, y - 9 * px, w, 18 * px, 3 * px);
  c.fill();
  c.fillStyle = color("panel");
  c.fillText(text, x + 5 * px, y + px / 2);
}

function plain(v) {
  return v.toLocaleString("en-US", { minimumFractionDigits: decimals(v), maximumFractionDigits: decimals(v) });
}

// under is the smallest thesis below the cursor, open ones first.
function under(u, theses) {
  const { left, top } = u.cursor;
  if (left < 0) return null;
  let best = null;
  let area = Infinity;
  for (const t of theses) {
    const { x0, x1, y0, y1 } = edges(u, t, false);
    const size = (x1 - x0) * (y1 - y0) + (t.outcome ? 1e9 : 0);
    if (left >= x0 && left <= x1 && top >= y0 && top <= y1 && size < area) {
      best = t;
      area = size;
    }
  }
  return best;
}

// place fills the tooltip and puts it beside the cursor, inside the chart.
function place(u, tip, t, now) {
  const state = phase(t, now ?? t.due + 1);
  const left = state === "created" ? `starts in ${seconds(t.start - now)}` : state === "active" ? `${seconds(t.end - now)} left` : "";
  tip.replaceChildren(
    h("b", {}, `Thesis ${t.id}`), h("i", { class: "tag " + PHASES[state][1] }, PHASES[state][0]), h("br"),
    `${priceText(t.lowerText)} – ${priceText(t.upperText)}`, h("br"), `${amount(t.bet)} → ${amount(t.payout)} `, h("span", { class: "soft" }, left));
  const { left: x, top: y } = u.cursor;
  const w = tip.offsetWidth;
  tip.style.left = `${x + 14 + w > u.over.clientWidth ? x - w - 14 : x + 14}px`;
  tip.style.top = `${Math.min(y + 14, u.over.clientHeight - tip.offsetHeight)}px`;
}

// tiny is a line without axes, as wide as its box: an SVG, cheap to redraw.
export function tiny(t, p, from, to, cls = "") {
  const first = Math.max(0, t.findIndex((x) => x >= from));
  const step = Math.max(1, Math.floor((t.length - first) / 120));
  let lo = Infinity;
  let hi = -Infinity;
  for (let i = first; i < p.length; i++) {
    lo = Math.min(lo, p[i]);
    hi = Math.max(hi, p[i]);
  }
  const begin = Math.max(from, t[first]); // the line fills the box however short it is
  let d = "";
  for (let i = first; i < t.length; i += step) {
    d += `${d ? "L" : "M"}${((100 * (t[i] - begin)) / (to - begin)).toFixed(2)} ${(26 - (24 * (p[i] - lo)) / (hi - lo || 1)).toFixed(2)}`;
  }
  return drawing("0 0 100 28", d || "M0 14L100 14", "tiny " + cls);
}

// note says over a chart why there is nothing in it.
export function note(host, text) {
  let el = host.querySelector(".nothing");
  if (!el) {
    el = h("p", { class: "nothing" });
    host.append(el);
  }
  say(el, text);
  el.hidden = !text;
}
