// How fields of blocks, transactions, events and accounts read: the page knows them
// by name, so that a module it has never heard of is shown too, only plainer.

import { amount, clock, isTime, moment, price, short } from "./format.js";
import { copyable, h, route } from "./dom.js";
import { PHASES, phase } from "./live.js";

const AMOUNTS = new Set(["amount", "balance", "locked", "bet_amount", "payout", "user_received", "solver_received", "min_bet", "max_bet",
  "max_open_interest", "open_interest", "lower", "upper", "price", "breach_price"]);
const TIMES = new Set(["timestamp", "time", "start", "end", "deadline", "due", "expiry", "created_at", "settled_at", "breach_timestamp", "requested", "processed"]);

// value renders one field of anything the node answers with.
export function value(name, v) {
  if (v === null || v === undefined) return h("span", { class: "soft" }, "none");
  if (typeof v === "boolean") return v ? "yes" : "no";
  if (typeof v === "object") return nested(v);
  if (name === "thesis_id" && Number.isSafeInteger(v)) return thesisLink(v);
  if (name === "height" && Number.isSafeInteger(v)) return blockLink(v);
  if (AMOUNTS.has(name) && /^\d+$/.test(v)) return h("span", { class: "num", title: v + " millionths" }, amount(v));
  if (TIMES.has(name) && typeof v === "number") return v === 0 ? "never" : when(v);
  if (name === "tx_hash") return txLink(v);
  if (/^0x[0-9a-f]{40}$/.test(v)) return accountLink(v);
  if (/^0x/.test(v)) return copyable(v);
  return String(v);
}

function nested(v) {
  if (Array.isArray(v)) return v.length === 0 ? h("span", { class: "soft" }, "none") : h("ul", { class: "plain" }, v.map((x) => h("li", {}, value("", x))));
  return fields(v);
}

// fields is an object's fields, named as on the wire.
export function fields(object, skip = []) {
  return h("dl", { class: "facts inner" }, Object.entries(object).filter(([name]) => !skip.includes(name))
    .map(([name, v]) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, value(name, v))]));
}

// when is a moment, with the exact number for those who need it.
export function when(ms) {
  return h("time", isTime(ms) ? { datetime: new Date(ms).toISOString(), title: `${ms} ms` } : {}, moment(ms));
}

// at is a time of day, for tables.
export function at(ms) {
  return h("time", isTime(ms) ? { datetime: new Date(ms).toISOString(), title: `${moment(ms)} (${ms} ms)`, class: "num" } : {}, clock(ms, true));
}

export function blockLink(height) {
  return h("a", { href: route("block", height), class: "num" }, height.toLocaleString("en-US"));
}

export function txLink(hash) {
  return h("a", { href: route("tx", hash), class: "mono", title: hash }, short(hash));
}

export function accountLink(address) {
  return h("a", { href: route("account", address), class: "mono", title: address }, short(address));
}

export function thesisLink(id) {
  return h("a", { href: route("thesis", id), class: "num" }, String(id));
}

// badge is the phase of a thesis.
export function badge(t, now) {
  const [text, cls] = PHASES[phase(t, now)];
  return h("i", { class: "tag " + cls }, text);
}

// range is the two bounds of a thesis.
export function range(t) {
  return h("span", { class: "num" }, price(t.lowerText), h("span", { class: "soft" }, " – "), price(t.upperText));
}

// stake is what was bet, and what the winner gets.
export function stake(t) {
  return h("span", { class: "num" }, amount(t.bet), h("span", { class: "soft" }, " → "), amount(t.payout));
}

// events is a list of events of a transaction or a block.
export function events(list, empty) {
  if (list.length === 0) return h("p", { class: "empty" }, empty);
  return h("ol", { class: "events" }, list.map((e) => h("li", {}, h("b", { class: "kind" }, e.type.replaceAll("_", " ")), fields(e, ["type"]))));
}
