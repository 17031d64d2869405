// Blocks, transactions, accounts, and finding them.

import { amount, bytes, count, short } from "./format.js";
import { copyable, facts, fill, h, panel, route, table } from "./dom.js";
import { pages } from "./market.js";
import { accountLink, at, blockLink, events, fields, thesisLink, txLink, when } from "./values.js";

const PER_PAGE = 25;
const ADDRESS = /^0x[0-9a-f]{40}$/i;
const HASH = /^0x[0-9a-f]{64}$/i;

// blocks lists them, newest first, or from a height down.
export async function blocks(ctx, from = null) {
  ctx.title("Blocks");
  const { live } = ctx;
  const head = await live.call("kaizen_getHeader");
  const top = from === null ? head.height : Math.min(Number(from), head.height);
  if (!Number.isSafeInteger(top) || top < 0) throw new Error(`${from} is not a height`);
  const newer = top < head.height && route("blocks", Math.min(head.height, top + PER_PAGE));
  const older = top >= PER_PAGE && route("blocks", top - PER_PAGE);
  ctx.steps(older, newer);
  const body = h("div", {}, await blockTable(live, top));
  if (from === null) {
    let shown = top;
    let busy = false;
    ctx.on("blocks", () => {
      const height = live.head?.height ?? 0;
      if (busy || height === shown || body.matches(":hover") || body.contains(document.activeElement)) return;
      busy = true;
      const rows = live.blocks.slice(-PER_PAGE).reverse();
      if (rows.length === PER_PAGE) fill(body, rowsOf(rows));
      shown = height;
      setTimeout(() => { busy = false; }, 400);
    });
  }
  return [h("h1", {}, "Blocks"), panel(from === null ? "Newest" : `From ${count(top)} down`, body, { extra: turner(older, newer, "Older", "Newer") })];
}

async function blockTable(live, top) {
  const heights = Array.from({ length: Math.min(PER_PAGE, top + 1) }, (_, i) => top - i);
  const found = await Promise.all(heights.map((n) => live.call("kaizen_getBlock", [n, "hashes"]).catch((e) => {
    if (e.errorName === "BlockNotFound") return null; // pruned
    throw e;
  })));
  return rowsOf(found.filter(Boolean).map((b) => ({
    height: b.header.height, hash: b.header.hash, root: b.header.state_root, time: b.header.time, size: b.size, txs: b.transactions.length,
    failed: b.transactions.filter((t) => t.status !== "ok").length,
  })));
}

function rowsOf(list) {
  return table([["Height", ""], ["Time", ""], ["Transactions", "r"], ["Failed", "r"], ["Size", "r"], ["Hash", ""], ["State root", ""]],
    list.map((b) => [blockLink(b.height), at(b.time), h("span", { class: "num" }, count(b.txs)), h("span", { class: b.failed ? "num loss-ink" : "num soft" }, count(b.failed)),
      h("span", { class: "num" }, bytes(b.size)), h("a", { href: route("block", b.hash), class: "mono", title: b.hash }, short(b.hash)), h("span", { class: "mono soft", title: b.root }, short(b.root))]),
    "no block is kept here");
}

function turner(back, on, backText, onText) {
  const link = (href, text) => (href ? h("a", { href }, text) : h("span", { class: "soft" }, text));
  return h("span", { class: "turner" }, link(back, "← " + backText), link(on, onText + " →"));
}

// block is one, by height or hash.
export async function block(ctx, which) {
  const ref = /^\d{1,16}$/.test(which) ? Number(which) : which;
  ctx.title(`Block ${which}`);
  const { live } = ctx;
  const b = await live.call("kaizen_getBlock", [ref]);
  const { header: x } = b;
  ctx.title(`Block ${count(x.height)}`);
  const next = route("block", x.height + 1);
  const prev = x.height > 0 && route("block", x.height - 1);
  ctx.steps(prev, next);
  const hook = [...b.begin_events, ...b.end_events];
  return [
    h("h1", {}, `Block ${count(x.height)}`),
    panel("Header", facts([
      ["Sealed", when(x.time)], ["Hash", copyable(x.hash)],
      ["Parent", h("a", { href: route("block", x.parent_hash), class: "mono long" }, x.parent_hash)],
      ["State root", copyable(x.state_root)], ["Transactions root", copyable(x.transactions_root)], ["Receipts root", copyable(x.receipts_root)],
      ["Oracle hash", copyable(x.oracle_hash)], ["Module", copyable(x.module_hash)], ["Sequencer", copyable(x.sequencer)], ["Signature", copyable(x.signature)],
      ["Size", `${bytes(b.size)}, format ${x.version}, chain ${x.chain_id}`],
    ]), { extra: turner(prev, next, "Previous", "Next") }),
    panel("Transactions", table([["#", "r slim"], ["Hash", ""], ["Kind", ""], ["From", ""], ["Status", ""], ["Events", "r"]],
      b.transactions.map((t) => [h("span", { class: "num" }, t.index), txLink(t.tx_hash), t.decoded?.kind ?? "", t.decoded?.from ? accountLink(t.decoded.from) : "", status(t), h("span", { class: "num" }, t.events.length)]),
      "none"), { extra: h("span", { class: "soft" }, count(b.transactions.length)) }),
    h("div", { class: "grid2" },
      panel("Prices in force", table([["Market", ""], ["Price", "r"], ["Observed", ""]],
        Object.entries(b.oracle.prices).sort().map(([pair, p]) => [h("a", { href: route("market", pair) }, pair), h("span", { class: "num" }, amount(p.price)), at(p.timestamp)]), "none"),
      { extra: b.oracle.stale ? h("i", { class: "tag soon" }, "stale") : null }),
      panel("Events of the block", events(hook, "none"))),
  ];
}

function status(t) {
  return t.status === "ok" ? h("i", { class: "tag win" }, "ok") : h("i", { class: "tag loss", title: t.error_detail ?? "" }, t.error);
}

// transaction is one, by its hash.
export async function transaction(ctx, hash) {
  ctx.title("Transaction " + short(hash));
  const t = await ctx.live.call("kaizen_getTransaction", [hash]);
  const d = t.decoded;
  return [
    h("h1", {}, d?.kind ?? "Transaction", " ", status(t)),
    t.error && h("p", { class: "result" }, `${t.error}${t.error_detail ? ": " + t.error_detail : ""}. It changed nothing.`),
    h("div", { class: "grid2" },
      panel("Where", facts([
        ["Hash", copyable(t.tx_hash)], ["Block", t.block.hash ? blockLink(t.height) : `${count(t.height)}, still open`], ["Place in it", h("span", { class: "num" }, t.index)],
        d && ["From", accountLink(d.from)], d && ["Signed at", when(d.timestamp)], ["Size", bytes(t.raw.length / 2 - 1)],
      ])),
      panel(d ? "What it says" : "Bytes", d ? fields(d.payload) : copyable(t.raw))),
    panel("Events", events(t.events, "none")),
    d && panel("Signature and bytes", facts([["Signature", copyable(d.signature)], ["Bytes", copyable(t.raw)]])),
  ];
}

// account is one, with its theses.
export async function account(ctx, address) {
  if (!ADDRESS.test(address)) throw new Error(`${address} is not an address: 0x and 40 hex digits`);
  ctx.title("Account " + short(address));
  const { live } = ctx;
  await ctx.until("markets", () => live.known);
  const key = address.toLowerCase();
  const box = h("div", { class: "tiles" });
  const more = h("div", {});
  const load = async () => {
    const a = await live.call("kaizen_getAccount", [key]);
    const tile = (name, text, sub) => h("div", { class: "tile" }, h("span", {}, name), h("b", {}, text), h("small", {}, sub));
    fill(box, tile("Balance", amount(a.balance), "free to use"), tile("Locked", amount(a.locked), "in open theses"),
      tile("Permissions", a.permissions.join(", ") || "none", a.blacklisted ? "blacklisted" : "beyond what anybody may"));
    fill(more, a.api_wallets.length > 0 && panel("API wallets", table([["Address", ""], ["Expires", ""]],
      a.api_wallets.map((w) => [accountLink(w.address), w.expiry === 0 ? "never" : [when(w.expiry), w.expired ? " (expired)" : ""]]), "none")));
  };
  await load();
  let head = live.head?.height;
  let busy = false;
  ctx.on("blocks", async () => {
    if (busy || live.head.height < head + 10) return;
    busy = true;
    head = live.head.height;
    await load().catch(() => {}); // the state of the connection is shown anyway
    busy = false;
  });
  return [
    h("h1", {}, "Account"), h("p", { class: "result" }, copyable(key)), box, more,
    panel("Its transactions", history(ctx, key)),
    live.markets.length > 0 && [panel("Its theses as user", pages(ctx, { user: key })), panel("Its theses as solver", pages(ctx, { solver: key }))],
  ];
}

// history lists the transactions that name an account, newest first. The node has no
// index of them and looks through blocks, so many at a time, so that a page may be
// short or empty and there is more nevertheless.
function history(ctx, address) {
  const body = h("div", {}, h("p", { class: "empty" }, "looking through blocks …"));
  const rows = [];
  let newest = 0;
  const load = async (cursor) => {
    const page = await ctx.live.call("kaizen_getAccountTransactions", [address, PER_PAGE, cursor]);
    const { from, to } = page.scanned;
    newest ||= to;
    rows.push(...page.transactions.map((t) => [at(t.time), blockLink(t.height), txLink(t.tx_hash), t.decoded?.kind ?? "", party(t, address), status(t), h("span", { class: "num" }, t.events.length)]));
    fill(body, table([["Time", ""], ["Block", ""], ["Hash", ""], ["Kind", ""], ["With", ""], ["Status", ""], ["Events", "r"]], rows, "none in these blocks"),
      h("p", { class: "soft" }, newest === 0 ? "no block yet" : `blocks ${count(from || newest)} to ${count(newest)}`, page.next || newest === 0 ? "" : from > 1 ? "; nothing older is kept here" : "; there is nothing older"),
      page.next && h("button", { type: "button", class: "more", onclick: () => ctx.run(() => load(page.next), body) }, "Older"));
  };
  ctx.run(() => load(null), body);
  return body;
}

// party is the other one of a transaction, where it says so.
function party(t, address) {
  const p = t.decoded?.payload ?? {};
  const all = [t.decoded?.from, p.to, p.user, p.wallet, p.destination, p.account, p.quote?.user, p.quote?.solver];
  const other = all.find((a) => a && a !== address);
  return other ? accountLink(other) : "";
}

// search goes to what the text names, or lists what it may mean.
export async function search(ctx, text = "") {
  ctx.title("Search");
  const { live } = ctx;
  await ctx.until("markets", () => live.known);
  const q = text.trim();
  const found = [];
  const look = async (method, params, hit) => {
    try {
      found.push(hit(await live.call(method, params)));
    } catch (e) {
      if (e.errorName === "Unreachable") throw e; // anything else says that it is none
    }
  };
  const number = /^(?:#|t|thesis)?\s*(\d{1,16})$/i.exec(q);
  if (/^\d{1,16}$/.test(q)) await look("kaizen_getHeader", [Number(q)], (b) => [route("block", b.height), ["Block ", blockLink(b.height)]]);
  if (number && live.markets.length > 0) await look("kaizen_getThesis", [Number(number[1])], (t) => [route("thesis", t.thesis_id), ["Thesis ", thesisLink(t.thesis_id)]]);
  if (HASH.test(q)) {
    await look("kaizen_getTransaction", [q.toLowerCase()], (t) => [route("tx", t.tx_hash), ["Transaction ", txLink(t.tx_hash)]]);
    await look("kaizen_getHeader", [q.toLowerCase()], (b) => [route("block", b.hash), ["Block ", blockLink(b.height)]]);
  }
  if (ADDRESS.test(q)) found.push([route("account", q.toLowerCase()), ["Account ", accountLink(q.toLowerCase())]]);
  for (const m of live.markets) {
    const name = m.name.toLowerCase();
    if (q && (name === q.toLowerCase() || name.split("/")[0] === q.toLowerCase())) found.push([route("market", m.name), ["Market ", h("a", { href: route("market", m.name) }, m.name)]]);
  }
  if (found.length === 1 && !ctx.over) {
    location.replace(found[0][0]);
    return h("p", { class: "empty" }, "Found.");
  }
  return [h("h1", {}, "Search"), panel(found.length ? `“${q}” may be` : "Nothing found", found.length
    ? h("ul", { class: "found" }, found.map(([, line]) => h("li", {}, line)))
    : h("p", {}, `Nothing on this node is called “${q}”. It looks for heights (1204), block and transaction hashes, addresses (0x…), theses (#17) and markets (BTC).`))];
}
