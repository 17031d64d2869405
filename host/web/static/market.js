// Markets: the price, the theses over it, and the lists of them.

import { amount, count, duration, price } from "./format.js";
import { fill, h, panel, route, say, table } from "./dom.js";
import { note, priceChart, tiny } from "./charts.js";
import { HISTORY_MS, thesisOf } from "./live.js";
import { throttle } from "./overview.js";
import { accountLink, at, badge, range, stake, thesisLink } from "./values.js";

const BACKS = [["1m", 60_000], ["2m", 120_000], ["5m", HISTORY_MS]];
const AHEAD_MOST_MS = 75_000;
const LEAST_MS = 20_000; // of the past
const CHART_MS = 80; // at most this often

let chosen = null; // the market shown on the first page
let back = BACKS[innerWidth < 600 ? 0 : 1][1];

// marketPanel is a chart with a tab for each market; of one market if pair is
// given.
export function marketPanel(ctx, pair = null) {
  const { live } = ctx;
  chosen ??= live.markets[0].name;
  if (!live.markets.some((m) => m.name === chosen)) chosen = live.markets[0].name;
  const current = () => pair ?? chosen;
  const host = h("div", { class: "prices" });
  const tabs = pair ? null : tabList(live, () => draw());
  const spans = h("div", { class: "spans", role: "group", "aria-label": "Time shown" }, BACKS.map(([text, ms]) =>
    h("button", { type: "button", "aria-pressed": String(ms === back), onclick: (e) => {
      back = ms;
      for (const b of spans.children) b.setAttribute("aria-pressed", String(b === e.target));
      draw();
    } }, text)));
  let chart = null;
  const draw = () => {
    tabs?.update();
    if (!chart) return;
    chart.update();
    const s = live.prices.get(current());
    note(host, !s || s.t.length === 0 ? "no price has been recorded yet" : "");
  };
  const soon = throttle(draw, CHART_MS);
  ctx.whenShown(host, () => {
    chart = priceChart(host, {
      points: () => live.prices.get(current()) ?? { t: [], p: [] },
      theses: () => ofPair(live.theses.values(), current()),
      now: () => live.now(),
      range: () => {
        const past = behind(live, current());
        return [live.now() - past, live.now() + ahead(live, current(), past)];
      },
      pick: (t) => { location.hash = route("thesis", t.id); },
    });
    ctx.end(chart.destroy);
    draw();
  });
  for (const e of ["blocks", "prices", "theses"]) ctx.on(e, soon);
  const legend = h("span", { class: "legend" }, h("span", { class: "key box open" }, "open"), h("span", { class: "key box win" }, "user won"), h("span", { class: "key box loss" }, "solver won"));
  return h("section", { class: "panel market", "aria-label": "Prices and theses" },
    h("header", {}, tabs ? tabs.el : h("h2", {}, pair), h("span", { class: "end" }, legend, spans)), host);
}

function* ofPair(theses, pair) {
  for (const t of theses) if (t.pair === pair) yield t;
}

// behind is how much of the past is shown: not more than there are prices of, if
// that is enough to see something.
function behind(live, pair) {
  const first = live.prices.get(pair)?.t[0] ?? 0;
  return Math.min(back, Math.max(live.now() - first, LEAST_MS));
}

// ahead is how much of the future is shown: as far as open theses go, not more
// than a share of what is shown of the past.
function ahead(live, pair, back) {
  let most = 0;
  const now = live.now();
  for (const t of ofPair(live.theses.values(), pair)) if (!t.outcome) most = Math.max(most, t.end - now);
  return Math.min(Math.max(most, 0) + back * 0.06, AHEAD_MOST_MS, back * 0.6);
}

// tabList is a tab per market with its price and its way there.
function tabList(live, changed) {
  const tabs = live.markets.map((m) => {
    const now = h("b", { class: "num" }, "–");
    const move = h("small", { class: "num" }, "");
    const line = h("span", { class: "line" });
    const select = () => {
      chosen = m.name;
      changed();
    };
    const el = h("button", { type: "button", role: "tab", onclick: select, onkeydown: (e) => step(e, el) }, h("span", {}, m.name), now, move, line);
    return { m, el, now, move, line };
  });
  const lines = throttle(() => {
    for (const t of tabs) {
      const s = live.prices.get(t.m.name);
      if (s?.t.length) fill(t.line, tiny(s.t, s.p, live.now() - HISTORY_MS, live.now()));
    }
  }, 1000);
  const update = () => {
    for (const t of tabs) {
      const s = live.prices.get(t.m.name);
      t.el.setAttribute("aria-selected", String(t.m.name === chosen));
      t.el.tabIndex = t.m.name === chosen ? 0 : -1;
      if (!s?.t.length) continue;
      const change = 100 * (s.p.at(-1) / s.p[0] - 1);
      say(t.now, price(s.text));
      say(t.move, s.stale ? "stale" : `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(2)} %`);
      t.move.className = "num " + (s.stale ? "warn" : change < 0 ? "down" : "up");
    }
    lines();
  };
  return { el: h("div", { class: "tabs", role: "tablist", "aria-label": "Market" }, tabs.map((t) => t.el)), update };
}

// step moves between tabs by arrow keys.
function step(e, el) {
  const to = e.key === "ArrowRight" ? el.nextElementSibling ?? el.parentElement.firstElementChild
    : e.key === "ArrowLeft" ? el.previousElementSibling ?? el.parentElement.lastElementChild : null;
  if (!to) return;
  e.stopPropagation();
  to.focus();
  to.click();
}

// markets lists them.
export async function markets(ctx) {
  ctx.title("Markets");
  await ctx.until("markets", () => ctx.live.known);
  const { live } = ctx;
  const body = h("div", { class: "grid2" });
  const cards = new Map();
  const card = (m) => {
    const facts = h("p", { class: "soft" });
    const now = h("b", { class: "huge num" }, "–");
    const line = h("div", { class: "spark" });
    const el = panel(m.name, [h("div", { class: "quote" }, now, line), facts], { extra: h("a", { href: route("market", m.name) }, "Open") });
    return { el, facts, now, line };
  };
  const update = () => {
    for (const m of live.markets) {
      let c = cards.get(m.name);
      if (!c) {
        c = card(m);
        cards.set(m.name, c);
        body.append(c.el);
      }
      say(c.facts, `${count(m.open_theses)} open theses, ${amount(m.open_interest)} of ${amount(m.max_open_interest)} at stake, bets ${amount(m.min_bet)} to ${amount(m.max_bet)}${m.paused ? ", paused" : ""}`);
      const s = live.prices.get(m.name);
      if (!s?.t.length) continue;
      say(c.now, price(s.text));
      fill(c.line, tiny(s.t, s.p, live.now() - HISTORY_MS, live.now(), "big"));
    }
  };
  const soon = throttle(update, 500);
  for (const e of ["markets", "prices"]) ctx.on(e, soon);
  update();
  return [h("h1", {}, "Markets"), body];
}

// market is one of them, with its theses.
export async function market(ctx, name) {
  ctx.title(name);
  const { live } = ctx;
  await ctx.until("markets", () => live.known);
  if (!live.markets.some((m) => m.name === name)) throw new Error(`there is no market ${name} on this chain`);
  return [h("h1", {}, name), marketPanel(ctx, name), thesesPanels(ctx, { pair: name })];
}

// theses is all of them.
export async function theses(ctx) {
  ctx.title("Theses");
  await ctx.until("markets", () => ctx.live.known);
  return [h("h1", {}, "Theses"), thesesPanels(ctx, {})];
}

// thesesPanels are two lists: what is open, kept up to date, and what was settled,
// by pages.
export function thesesPanels(ctx, filter) {
  const { live } = ctx;
  const open = h("div");
  const fits = (t) => (!filter.pair || t.pair === filter.pair) && (!filter.user || t.user === filter.user) && (!filter.solver || t.solver === filter.solver);
  const update = throttle(() => {
    if (open.contains(document.activeElement) || open.matches(":hover")) return; // nobody's target moves away
    const now = live.now();
    const list = [...live.theses.values()].filter((t) => !t.outcome && fits(t)).sort((a, b) => a.due - b.due);
    const more = list.length > OPEN_ROWS ? h("p", { class: "soft" }, `and ${count(list.length - OPEN_ROWS)} more`) : null;
    fill(open, table([["Thesis", ""], ["Market", ""], ["Range", "r"], ["Bet → payout", "r"], ["State", ""], ["Time", ""], ["User", ""]],
      list.slice(0, OPEN_ROWS).map((t) => [thesisLink(t.id), t.pair, range(t), stake(t), badge(t, now), progress(t, now), accountLink(t.user)]), "no thesis is open"), more);
  }, 500);
  ctx.on("theses", update);
  ctx.on("blocks", update);
  update();
  return [panel("Open", open), panel("Settled", pages(ctx, { ...filter, state: "settled" }))];
}

const OPEN_ROWS = 40;

// progress is how much of a thesis's time has passed.
function progress(t, now) {
  const bar = h("i", { class: "fill" });
  const share = now < t.start ? 0 : now < t.end ? (now - t.start) / (t.end - t.start) : 1;
  bar.style.width = `${100 * share}%`;
  const left = now < t.start ? `in ${duration(t.start - now)}` : now < t.end ? `${duration(t.end - now)} left` : now < t.due ? `due in ${duration(t.due - now)}` : "due";
  return h("span", { class: "progress" }, h("span", { class: "bar" }, bar), h("span", { class: "soft num" }, left));
}

// pages is a list of theses with a button for more.
export function pages(ctx, filter) {
  const body = h("div");
  const rows = [];
  const load = async (cursor) => {
    const page = await ctx.live.call("kaizen_listTheses", [{ ...filter, limit: 25, cursor }]);
    rows.push(...page.theses.map(thesisOf));
    const list = table([["Thesis", ""], ["Market", ""], ["Range", "r"], ["Bet → payout", "r"], ["Outcome", ""], ["Opened", ""], ["Settled", ""], ["User", ""], ["Solver", ""]],
      rows.map((t) => [thesisLink(t.id), h("a", { href: route("market", t.pair) }, t.pair), range(t), stake(t), badge(t, ctx.live.now()), at(t.createdAt), t.settledAt ? at(t.settledAt) : "",
        accountLink(t.user), accountLink(t.solver)]), "none");
    fill(body, list, page.next && h("button", { type: "button", class: "more", onclick: () => ctx.run(() => load(page.next), body) }, "Older"));
  };
  ctx.run(() => load(null), body);
  return body;
}
