// What the page knows of the chain, kept up to date by subscriptions: the newest
// blocks, the prices of the last minutes, the theses that are open or were settled
// a moment ago, and how the node is. Views read it and are told what changed.

import { units } from "./format.js";
import { Link } from "./rpc.js";

// How much is kept, and how often the node is asked about itself.
const KEEP_BLOCKS = 900;
export const BACKFILL_BLOCKS = 600;
export const HISTORY_MS = 300_000;
const KEEP_SETTLED_MS = 300_000;
const KEEP_THESES = 2000;
const KEEP_TAPE = 40;
const STATUS_MS = 1000;
const READY_MS = 4000;
const WORK_MS = 3000;
const KEEP_SAMPLES = 900;
const PAGE = 250; // theses asked for at once
const OPEN_PAGES = 8;

// WORK is the metric that says how long a node works on a block, by its role.
const WORK = { write: "kaizen_seal_seconds", read: "kaizen_verify_seconds" };

// Live dispatches, at most once per frame each: "link", "info", "status", "blocks",
// "markets", "prices", "theses", "work".
export class Live extends EventTarget {
  #dirty = new Set();
  #frame = false;
  #headAt = 0;

  constructor(url) {
    super();
    this.info = null;
    this.status = null; // kaizen_status
    this.ready = null; // GET /readyz
    this.samples = []; // {t, lag, oracle} of the status, ms
    this.work = []; // {t, ms}: the chain's time, and how long a block took on average since the one before
    this.blocks = []; // oldest first: {height, hash, time, txs, failed, events, size}
    this.known = false; // whether it is known which markets there are
    this.markets = []; // kaizen_getMarkets; empty where the module has none
    this.prices = new Map(); // by pair: {t: [ms], p: [float], text, stale}
    this.theses = new Map(); // by id
    this.tape = []; // newest first: {kind, thesis, time}, what happened to theses
    this.link = new Link(url);
    this.link.addEventListener("state", () => this.#linked());
    this.#blocks();
    this.#watch();
  }

  call(method, params) {
    return this.link.call(method, params);
  }

  get head() {
    return this.blocks.at(-1) ?? null;
  }

  // now is the chain's time: that of the newest block, and the time since it came,
  // as long as more blocks are to be expected.
  now() {
    if (!this.head) return Date.now();
    return this.head.time + Math.min(performance.now() - this.#headAt, 2 * (this.info?.interval_ms ?? 100));
  }

  // silence is how long no block has come, ms.
  silence() {
    return this.head ? performance.now() - this.#headAt : 0;
  }

  // patience is how long no block may come before something is wrong, ms.
  patience() {
    return Math.max(3000, 20 * (this.info?.interval_ms ?? 100));
  }

  #changed(what) {
    this.#dirty.add(what);
    if (this.#frame) return;
    this.#frame = true;
    requestAnimationFrame(() => {
      this.#frame = false;
      const dirty = [...this.#dirty];
      this.#dirty.clear();
      for (const d of dirty) this.dispatchEvent(new Event(d));
    });
  }

  // linked asks who the node is each time there is a connection: it may be another
  // one, with another chain.
  async #linked() {
    this.#changed("link");
    if (this.link.state !== "open") return;
    try {
      const info = await this.call("kaizen_info");
      if (this.info && this.info.genesis_hash !== info.genesis_hash) {
        location.reload();
        return;
      }
      this.info = info;
      this.#changed("info");
      if (!this.known) await this.#market();
    } catch (e) {
      console.warn(e.message); // the connection is gone again
    }
  }

  #blocks() {
    const begin = async (refused) => {
      this.blocks = [];
      if (refused?.position) return refused.position;
      const head = await this.call("kaizen_getHeader");
      return { height: Math.max(0, head.height - BACKFILL_BLOCKS) };
    };
    this.link.subscribe("blocks", {}, begin, (b) => {
      if (b.removed) {
        this.blocks = this.blocks.filter((x) => x.height < b.height);
      } else {
        this.blocks.push({ height: b.height, hash: b.hash, time: b.header.time, root: b.header.state_root,
          txs: b.transactions, failed: b.failed, events: b.events, size: b.size });
        trim(this.blocks, KEEP_BLOCKS);
      }
      this.#headAt = performance.now();
      this.#changed("blocks");
    });
  }

  // market follows prices and theses, where the module has them.
  async #market() {
    try {
      this.markets = (await this.call("kaizen_getMarkets")).markets;
    } catch (e) {
      if (e.errorName !== "MethodNotFound") throw e;
    }
    this.known = true;
    this.#changed("markets");
    if (this.markets.length === 0) return;
    for (const m of this.markets) this.#follow(m.name);
    this.#followTheses();
  }

  #follow(pair) {
    const series = { t: [], p: [], text: null, stale: true };
    this.prices.set(pair, series);
    const begin = async () => {
      const head = await this.call("kaizen_getHeader");
      const points = await this.history(pair, Math.max(0, head.time - HISTORY_MS), head.time, head.height);
      series.t = points.map((x) => x.timestamp);
      series.p = points.map((x) => units(x.price));
      series.text = points.at(-1)?.price ?? null;
      this.#changed("prices");
      return { height: head.height, hash: head.hash };
    };
    const sub = this.link.subscribe("prices", { pair }, begin, (r) => {
      if (r.removed) {
        sub.again();
        return;
      }
      series.stale = r.stale;
      series.text = r.price;
      if (!(r.timestamp <= series.t.at(-1))) {
        series.t.push(r.timestamp);
        series.p.push(units(r.price));
      }
      const old = series.t.findIndex((t) => t >= r.timestamp - HISTORY_MS);
      if (old > 200) {
        series.t.splice(0, old);
        series.p.splice(0, old);
      }
      this.#changed("prices");
    });
  }

  // history is every recorded price with from ≤ timestamp ≤ to, ms.
  async history(pair, from, to, height = "latest") {
    const points = [];
    for (let next = from; next !== null && next <= to; ) {
      const page = await this.call("kaizen_getOracleHistory", [pair, next, to, height]);
      points.push(...page.prices);
      next = page.next;
    }
    return points;
  }

  #followTheses() {
    const begin = async () => {
      const head = await this.call("kaizen_getHeader");
      const found = await this.#load(head.height);
      this.theses = new Map(found.map((t) => [t.id, t]));
      this.tape = found.filter((t) => t.outcome).sort((a, b) => b.settledAt - a.settledAt).slice(0, KEEP_TAPE)
        .map((t) => ({ kind: t.outcome, thesis: t, time: t.settledAt }));
      this.#changed("theses");
      return { height: head.height, hash: head.hash };
    };
    const sub = this.link.subscribe("theses", {}, begin, (e) => {
      if (e.removed) sub.again();
      else this.#happened(e);
    });
  }

  // load is what is open at that height, and what was settled last.
  async #load(height) {
    const all = [];
    let cursor = null;
    for (let i = 0; i < OPEN_PAGES; i++) {
      const page = await this.call("kaizen_listTheses", [{ state: "open", limit: PAGE, cursor }, height]);
      all.push(...page.theses);
      cursor = page.next;
      if (cursor === null) break;
    }
    const settled = await this.call("kaizen_listTheses", [{ state: "settled", limit: PAGE }, height]);
    return [...all, ...settled.theses].map(thesisOf);
  }

  #happened(e) {
    if (e.type === "thesis_created") {
      const pair = this.markets.find((m) => m.base === e.base && m.quote === e.quote)?.name ?? "";
      const t = thesisOf({ ...e, pair, created_at: e.time, outcome: null });
      this.theses.set(t.id, t);
      this.#tell("created", t, e.time);
    } else if (e.type === "thesis_settled") {
      const t = this.theses.get(e.thesis_id);
      if (!t) return; // it was opened before anything that is kept
      t.outcome = e.outcome;
      t.settledAt = e.time;
      t.seenSettled = performance.now();
      if (e.outcome === "solver_wins") {
        t.breachTime = e.breach_timestamp;
        t.breachPrice = e.breach_price;
      }
      this.#tell(e.outcome, t, e.time);
    }
    this.#forget(e.time);
    this.#changed("theses");
  }

  #tell(kind, thesis, time) {
    this.tape.unshift({ kind, thesis, time });
    if (this.tape.length > KEEP_TAPE) this.tape.length = KEEP_TAPE;
  }

  // forget drops what was settled long ago; a map is in the order of its entries.
  #forget(now) {
    for (const t of this.theses.values()) {
      const old = t.outcome && t.settledAt < now - KEEP_SETTLED_MS;
      if (old || (t.outcome && this.theses.size > KEEP_THESES)) this.theses.delete(t.id);
    }
  }

  // measure begins to ask how long blocks take, and returns what ends it.
  measure() {
    let last = null;
    const ask = async () => {
      if (this.link.state !== "open" || document.hidden || !this.info) return;
      const now = sumAndCount(await (await fetch("metrics")).text(), WORK[this.info.role]);
      if (last && now.count > last.count) {
        this.work.push({ t: this.now(), ms: (1000 * (now.sum - last.sum)) / (now.count - last.count) });
        trim(this.work, KEEP_SAMPLES);
        this.#changed("work");
      }
      last = now;
    };
    const timer = setInterval(() => ask().catch(() => {}), WORK_MS); // "down" says it
    return () => clearInterval(timer);
  }

  #watch() {
    const each = (ms, what) => {
      const run = async () => {
        if (this.link.state === "open" && !document.hidden) await what().catch(() => {}); // "down" says it
        setTimeout(run, ms);
      };
      run();
    };
    each(STATUS_MS, async () => {
      this.status = await this.call("kaizen_status");
      this.samples.push({ t: Date.now(), lag: this.status.lag_ms, oracle: this.status.oracle.age_ms });
      trim(this.samples, KEEP_SAMPLES);
      this.#changed("status");
    });
    each(READY_MS, async () => {
      this.ready = await (await fetch("readyz", { cache: "no-store" })).json();
      this.#changed("status");
    });
    each(5 * READY_MS, async () => {
      if (this.markets.length === 0) return;
      this.markets = (await this.call("kaizen_getMarkets")).markets;
      this.#changed("markets");
    });
  }
}

// sumAndCount reads a histogram of GET /metrics; NaN where there is none.
export function sumAndCount(text, name) {
  const read = (part) => Number(new RegExp(`^${name}_${part} (.+)$`, "m").exec(text)?.[1]);
  return { sum: read("sum"), count: read("count") };
}

function trim(list, keep) {
  if (list.length > keep + 100) list.splice(0, list.length - keep);
}

// thesisOf is a thesis as the node lists it, or as its event tells it, with what
// the charts draw as floats.
export function thesisOf(t) {
  return {
    id: t.thesis_id, pair: t.pair, user: t.user, solver: t.solver, lowerText: t.lower, upperText: t.upper, bet: t.bet_amount, payout: t.payout,
    lower: units(t.lower), upper: units(t.upper), start: t.start, end: t.end, due: t.due, createdAt: t.created_at,
    outcome: t.outcome, settledAt: t.settled_at ?? null, breachTime: t.breach_timestamp ?? null, breachPrice: t.breach_price ?? null, seenSettled: 0,
  };
}

// phase is what a thesis is in at a time: "created", "active", "challenge", "due",
// or how it was settled.
export function phase(t, now) {
  if (t.outcome) return t.outcome;
  return now < t.start ? "created" : now < t.end ? "active" : now < t.due ? "challenge" : "due";
}

// PHASES are the words for people, and the class that colours them.
export const PHASES = {
  created: ["Starts soon", "soon"], active: ["Active", "open"], challenge: ["Challenge", "open"], due: ["Due", "soon"],
  user_wins: ["User won", "win"], solver_wins: ["Solver won", "loss"], void: ["Void", "quiet"], cancelled: ["Cancelled", "quiet"],
};
