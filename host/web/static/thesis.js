// One thesis: its terms, what became of it, and the price on its way.

import { amount, price, units } from "./format.js";
import { copyable, facts, h, panel, route } from "./dom.js";
import { priceChart, note } from "./charts.js";
import { phase, thesisOf } from "./live.js";
import { accountLink, badge, when } from "./values.js";

const MARGIN_MS = 15_000; // shown before and after
const OFTEN_MS = 100;

export async function thesis(ctx, text) {
  if (!/^\d{1,16}$/.test(text)) throw new Error(`${text} is not the number of a thesis`);
  const id = Number(text);
  ctx.title(`Thesis ${id}`);
  ctx.steps((id > 1) && route("thesis", id - 1), route("thesis", id + 1));
  const { live } = ctx;
  const raw = await live.call("kaizen_getThesis", [id]);
  const t = thesisOf(raw);
  const state = h("span", {});
  const result = h("p", { class: "result" });
  const update = () => {
    const known = live.theses.get(id);
    if (known?.outcome && !t.outcome) Object.assign(t, { outcome: known.outcome, settledAt: known.settledAt, breachTime: known.breachTime, breachPrice: known.breachPrice, seenSettled: known.seenSettled });
    state.replaceChildren(badge(t, live.now()));
    result.textContent = verdict(t, live.now());
  };
  update();
  ctx.on("blocks", update);
  const body = [
    h("h1", {}, `Thesis ${id} `, state), result,
    panel(t.pair, await chart(ctx, t), { cls: "market", extra: h("a", { href: route("market", t.pair) }, "Market") }),
    h("div", { class: "grid2" },
      panel("Terms", facts([
        ["Market", h("a", { href: route("market", t.pair) }, t.pair)],
        ["Stays between", [h("span", { class: "num" }, amount(t.lowerText)), " and ", h("span", { class: "num" }, amount(t.upperText))]],
        ["User bets", h("span", { class: "num" }, amount(t.bet))],
        ["Solver puts in", h("span", { class: "num" }, amount(BigInt(t.payout) - BigInt(t.bet)))],
        ["Winner gets", h("b", { class: "num" }, amount(t.payout))],
        ["From", when(t.start)], ["Until", when(t.end)], ["Challenge until", when(t.due)],
      ])),
      panel("Parties", facts([
        ["User", accountLink(t.user)], ["Solver", accountLink(t.solver)],
        ["Opened", when(t.createdAt)],
        t.settledAt && ["Settled", when(t.settledAt)],
        raw.settled_by && ["Settled by", accountLink(raw.settled_by)],
        t.breachTime && ["Left the range", [when(t.breachTime), " at ", h("span", { class: "num loss-ink" }, amount(t.breachPrice))]],
        ["Quote", copyable(raw.quote_hash)], ["Salt", h("span", { class: "num" }, raw.salt)],
      ]))),
  ];
  return body;
}

// verdict says in a sentence what is or was.
function verdict(t, now) {
  const between = `${price(t.lowerText)} and ${price(t.upperText)}`;
  switch (phase(t, now)) {
    case "user_wins": return `The price stayed between ${between}: the user got ${amount(t.payout)}.`;
    case "solver_wins": return `The price did not stay between ${between}: the solver got ${amount(t.payout)}.`;
    case "void": return "Prices were missing: both got back what they put in.";
    case "cancelled": return "Cancelled before it began: both got back what they put in.";
    case "created": return `It begins soon. The user wins if the price stays between ${between}.`;
    case "active": return `It runs. The user wins if the price stays between ${between}.`;
    case "challenge": return "Its time is over, and whoever has seen a breach may still show it.";
    default: return "It can be settled, by anybody.";
  }
}

// chart shows the whole life of the thesis with the prices that are still kept.
async function chart(ctx, t) {
  const { live } = ctx;
  const host = h("div", { class: "prices lone" });
  const to = t.due + MARGIN_MS;
  const from = t.start - MARGIN_MS;
  const points = { t: [], p: [] };
  const add = (list) => {
    for (const x of list) {
      points.t.push(x.timestamp);
      points.p.push(units(x.price));
    }
  };
  add(await live.history(t.pair, from, to));
  const follow = () => { // what came since, from what the page keeps anyway
    const s = live.prices.get(t.pair);
    const last = points.t.at(-1) ?? from;
    if (!s || last >= to) return;
    let first = s.t.length;
    while (first > 0 && s.t[first - 1] > last) first--;
    for (let i = first; i < s.t.length && s.t[i] <= to; i++) {
      points.t.push(s.t[i]);
      points.p.push(s.p[i]);
    }
  };
  ctx.whenShown(host, () => {
    const c = priceChart(host, {
      points: () => points, theses: () => [t], lone: true, range: () => [from, to], now: () => (live.now() < to ? live.now() : null),
    });
    let last = 0;
    let over = false;
    ctx.on("blocks", () => {
      const now = performance.now();
      if (over || now - last < OFTEN_MS) return;
      last = now;
      over = live.now() > to; // once more, without the present
      follow();
      c.update();
    });
    ctx.end(c.destroy);
    note(host, points.t.length === 0 && live.now() > to ? "the prices of that time are not kept any more" : "");
  });
  return host;
}
