// The connection to the node: calls and subscriptions over one WebSocket that
// comes back by itself, and single calls over HTTP for other nodes.
//
//	link.call("kaizen_getHeader", [7])
//	link.subscribe("blocks", {}, begin, note)
//
// A subscription survives what happens to the connection: it resumes behind the
// last position it has seen, so nothing is missed or seen twice. Only where the
// node cannot go on from there does it begin anew.

// How long things may take, in seconds in which this machine was awake: one that
// wakes up has not waited.
const CALL = 12; // a call; the node itself gives up after 10
const WAIT_FOR_LINK = 4;
const SILENCE = 8; // without a word from a node that is asked every second

// How long until the next try, ms.
const RETRY_FIRST_MS = 400;
const RETRY_MOST_MS = 8_000;

// RpcError is an error of the node, with its stable name, or "Unreachable".
export class RpcError extends Error {
  constructor({ code, message, data }) {
    super(message);
    this.code = code;
    this.errorName = data?.name ?? "Error";
    this.position = data?.position ?? null;
  }
}

const unreachable = (message) => new RpcError({ code: 0, message, data: { name: "Unreachable" } });

// Link is the connection. It dispatches "state" when .state changes: "connecting",
// "open" or "down", then .retryAt is when it tries again.
export class Link extends EventTarget {
  #socket = null;
  #next = 1;
  #waiting = new Map(); // by id: {resolve, reject, until}
  #queue = new Set(); // calls that wait for a connection: {resolve, reject, until}
  #subscriptions = new Set();
  #byName = new Map(); // subscriptions by the name the node gave
  #retry = RETRY_FIRST_MS;
  #timer = 0;
  #clock = 0; // seconds awake
  #heard = 0; // when the last word came

  constructor(url) {
    super();
    this.url = url;
    this.state = "connecting";
    this.retryAt = 0;
    addEventListener("online", () => this.#soon());
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon());
    setInterval(() => this.#tick(), 1000);
    this.#connect();
  }

  // call asks the node. While there is no connection it waits for one, not long.
  async call(method, params = []) {
    if (this.state !== "open") await this.#opened();
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, until: this.#clock + CALL });
      this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  // subscribe calls note(result, position) for everything from where begin says:
  // it is called first, and again if the node cannot go on, with the error that
  // said so, and promises a position. end ends it, again lets it begin anew.
  subscribe(topic, filter, begin, note) {
    const s = { topic, filter, begin, note, position: null, name: null };
    const stop = () => {
      this.#byName.delete(s.name);
      if (s.name && this.state === "open") this.call("kaizen_unsubscribe", [s.name]).catch(() => {}); // it is gone either way
      s.name = s.position = null;
    };
    this.#subscriptions.add(s);
    if (this.state === "open") this.#start(s);
    return {
      end: () => {
        this.#subscriptions.delete(s);
        stop();
      },
      again: () => {
        stop();
        if (this.state === "open") this.#start(s);
      },
    };
  }

  #set(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#set("connecting");
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    const mine = (f) => (e) => socket === this.#socket && f(e);
    socket.addEventListener("open", mine(() => this.#open()));
    socket.addEventListener("message", mine((e) => this.#message(e.data)));
    socket.addEventListener("close", mine(() => this.#lost()));
  }

  #open() {
    this.#retry = RETRY_FIRST_MS;
    this.#heard = this.#clock;
    this.#set("open");
    const queue = [...this.#queue];
    this.#queue.clear();
    for (const q of queue) q.resolve();
    for (const s of this.#subscriptions) this.#start(s);
  }

  #lost() {
    this.#socket = null;
    this.#byName.clear();
    for (const s of this.#subscriptions) s.name = null;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const w of waiting) w.reject(unreachable("the connection to the node was lost"));
    const wait = this.#retry * (0.75 + Math.random() / 2); // many pages do not come back at once
    this.#retry = Math.min(2 * this.#retry, RETRY_MOST_MS);
    this.retryAt = performance.now() + wait;
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#set("down");
  }

  // soon tries now instead of later: the machine is back, or somebody looks.
  #soon() {
    if (this.state === "down") this.#connect();
  }

  // tick gives up what has waited too long, and a connection on which nothing comes
  // any more.
  #tick() {
    this.#clock++;
    for (const [id, w] of this.#waiting) {
      if (this.#clock < w.until) continue;
      this.#waiting.delete(id);
      w.reject(unreachable(`no answer within ${CALL} s`));
    }
    for (const q of this.#queue) {
      if (this.#clock < q.until) continue;
      this.#queue.delete(q);
      q.reject(unreachable("the node cannot be reached; this page goes on trying"));
    }
    if (document.hidden) this.#heard = this.#clock; // nobody asks then
    if (this.state !== "open" || this.#clock - this.#heard < SILENCE) return;
    const socket = this.#socket;
    this.#lost();
    socket.close();
  }

  // opened waits for a connection.
  #opened() {
    return new Promise((resolve, reject) => this.#queue.add({ resolve, reject, until: this.#clock + WAIT_FOR_LINK }));
  }

  #message(text) {
    this.#heard = this.#clock;
    const m = JSON.parse(text);
    if (m.method) {
      this.#notified(m.method, m.params);
      return;
    }
    const w = this.#waiting.get(m.id);
    if (!w) return;
    this.#waiting.delete(m.id);
    if (m.error) w.reject(new RpcError(m.error));
    else w.resolve(m.result);
  }

  #notified(method, p) {
    const s = this.#byName.get(p.subscription);
    if (!s) return;
    s.position = p.position;
    if (method === "kaizen_subscription") s.note(p.result, p.position);
    if (method === "kaizen_subscriptionClosed") {
      this.#byName.delete(s.name);
      s.name = null;
      if (p.reason === "RolledBack") s.note({ removed: true, height: p.position.height + 1 }, p.position);
      this.#start(s);
    }
  }

  // start subscribes from where s is, or from where it may begin. What goes wrong
  // with the connection is put right when it is back, anything else in a while.
  async #start(s) {
    const socket = this.#socket;
    const gone = () => socket !== this.#socket || !this.#subscriptions.has(s);
    let refused = null;
    for (let tries = 0; !gone(); tries++) {
      try {
        const from = s.position ?? (await s.begin(refused));
        if (gone()) return;
        const name = await this.call("kaizen_subscribe", [s.topic, s.filter, from]);
        if (gone()) return;
        s.name = name;
        this.#byName.set(name, s);
        return;
      } catch (e) {
        if (e.errorName === "Unreachable") return;
        if (HOPELESS.has(e.errorName)) {
          console.warn(`subscription ${s.topic}: ${e.message}`);
          return;
        }
        refused = e;
        s.position = null;
        if (tries > 0) await pause(RETRY_FIRST_MS * Math.min(tries, 10));
      }
    }
  }
}

// HOPELESS are the errors that another try does not mend.
const HOPELESS = new Set(["MethodNotFound", "InvalidParams", "TooManySubscriptions"]);

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// ask makes one call of another node, over HTTP.
export async function ask(url, method, params = []) {
  let answer;
  try {
    answer = await fetch(url, {
      method: "POST", headers: { "Content-Type": "application/json" }, credentials: "omit", signal: AbortSignal.timeout(4000),
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    });
  } catch {
    throw unreachable("not reached: it is down, or its rpc.allowed_origins lacks " + location.origin);
  }
  const m = await answer.json().catch(() => ({ error: { code: 0, message: "what answers there is not a node" } }));
  if (m.error) throw new RpcError(m.error);
  return m.result;
}
