// The shell of the JavaScript client, with a clock and sockets that do what a test says.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, beforeEach, test } from "node:test";

import { ClientError, ExactNumber, parseExact, subscribe } from "../../recorder/web/sdk/client.js";
import { members } from "../../recorder/web/sdk/client/json.js";
import { sha256 } from "../../recorder/web/sdk/client/sha256.js";

/** Time that passes when it is told to. */
const time = {
  now: 0,
  /** What the wall shows more than what has passed: a machine that slept. */
  slept: 0,
  timers: new Map(),
  next: 1,
  set(call, ms, every) {
    time.timers.set(time.next, { at: time.now + (ms ?? 0), call, every });
    return time.next++;
  },
  pass(ms) {
    const until = time.now + ms;
    for (;;) {
      const due = [...time.timers].filter(([, timer]) => timer.at <= until).sort((a, b) => a[1].at - b[1].at)[0];
      if (due === undefined) break;
      const [id, timer] = due;
      time.now = Math.max(time.now, timer.at);
      if (timer.every === undefined) time.timers.delete(id);
      else timer.at += timer.every;
      timer.call();
    }
    time.now = until;
  },
};

class Socket {
  static all = [];
  static get last() {
    return Socket.all.at(-1);
  }
  sent = [];
  closed = false;
  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    Socket.all.push(this);
  }
  get since() {
    return new URL(this.url).searchParams.get("since");
  }
  send(text) {
    this.sent.push(text);
  }
  close() {
    this.closed = true;
  }
  open(...events) {
    this.onopen?.();
    this.say({ event: "hello", protocol: 1, epoch: "E", head: 0 }, ...events);
  }
  say(...events) {
    for (const event of events) this.onmessage?.({ data: typeof event === "string" ? event : JSON.stringify(event) });
  }
  fail(code = 1006) {
    this.onclose?.({ code, reason: "" });
  }
}

const live = (seq) => ({ event: "live", seq });
const delta = (seq) => ({
  event: "delta",
  seq,
  recordedAt: "",
  delta: { type: "updated", sessionId: "s", after: { n: seq }, timestamp: "" },
});
const digest = (data) => createHash("sha256").update(data).digest();

/** What a recorder sends of deltas with states of these sizes, with the chain that it computes. */
function chained(sizes) {
  const field = (value) => {
    const bytes = Buffer.from(value ?? "");
    const size = Buffer.alloc(4);
    size.writeUInt32BE(value === null ? 0xffffffff : bytes.length);
    return Buffer.concat([size, bytes]);
  };
  let [link, before] = [Buffer.alloc(32), null];
  return sizes.map((size, index) => {
    const [seq, type] = [index + 1, index ? "updated" : "created"];
    const after = JSON.stringify({ n: seq, "ä": "é".repeat(size) });
    const states = [before, after].map((state) => state && digest(state));
    const values = ["recorder/chain/1", String(seq), "s", type, ...states, "then", "now", null, null, "0", null];
    link = digest(Buffer.concat([link, ...values.map(field)]));
    const had = before === null ? "" : `"before":${before},`;
    before = after;
    return (
      `{"event":"delta","seq":${seq},"recordedAt":"now","hash":"${link.toString("hex")}",` +
      `"delta":{"type":"${type}","sessionId":"s",${had}"after":${after},"timestamp":"then"}}`
    );
  });
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const open = [];
const kept = {};

/** @param {object} options */
function start(options = {}) {
  const events = subscribe({ url: "http://recorder.example", WebSocket: Socket, random: () => 0.5, ...options });
  open.push(events);
  return events;
}

beforeEach(() => {
  Object.assign(time, { now: 0, slept: 0 });
  time.timers.clear();
  Socket.all.length = 0;
  const { setTimeout, clearTimeout, setInterval, clearInterval, fetch } = globalThis;
  Object.assign(kept, { setTimeout, clearTimeout, setInterval, clearInterval, fetch, wall: Date.now });
  kept.passed = performance.now;
  Object.assign(globalThis, {
    setTimeout: (call, ms) => time.set(call, ms),
    setInterval: (call, ms) => time.set(call, ms, ms),
    clearTimeout: (id) => time.timers.delete(id),
    clearInterval: (id) => time.timers.delete(id),
    fetch: () => Promise.reject(new TypeError("unreachable")),
  });
  Date.now = () => 1e12 + time.now + time.slept;
  Object.defineProperty(performance, "now", { value: () => time.now, configurable: true });
});

afterEach(() => {
  for (const events of open.splice(0)) events.close();
  assert.equal(time.timers.size, 0, "a timer is left");
  const { wall, passed, ...rest } = kept;
  Object.assign(globalThis, rest);
  Date.now = wall;
  Object.defineProperty(performance, "now", { value: passed, configurable: true });
});

test("silence is asked about, then ended and resumed", async () => {
  const events = start({ heartbeatMs: 10_000, onEvent: () => {} });
  Socket.last.open(live(0), delta(1));
  assert.equal(String(events.status), "live");
  time.pass(20_000);
  assert.deepEqual(Socket.last.sent, []);
  time.pass(1_000);
  assert.equal(String(events.status), "stale 21 s");
  assert.deepEqual(Socket.last.sent, ['{"op":"ping"}']);
  time.pass(3_000);
  Socket.last.say({ event: "pong" });
  assert.equal(String(events.status), "live");
  time.pass(27_000);
  assert.equal(events.status.kind, "disconnected");
  assert.equal(Socket.all[0].closed, true);
  time.pass(1_000);
  assert.equal(Socket.all.length, 2);
  assert.equal(Socket.last.since, "E:1");
});

test("after a sleep the server is asked at once", () => {
  start({ onEvent: () => {} });
  Socket.last.open(live(0));
  time.pass(5_000);
  time.slept = 3_600_000;
  time.pass(1_000);
  assert.deepEqual(Socket.last.sent, ['{"op":"ping"}']);
  time.pass(3_000);
  assert.equal(Socket.all[0].closed, true);
  time.pass(1_000);
  assert.equal(Socket.all.length, 2);
});

test("where the network goes away the server is asked at once, where it is back it is tried", async () => {
  const heard = new Map();
  globalThis.addEventListener = (name, call) => heard.set(name, call);
  globalThis.removeEventListener = (name) => heard.delete(name);
  try {
    const events = start({ backoffBaseMs: 60_000, backoffCapMs: 60_000, onEvent: () => {} });
    Socket.last.open(live(0));
    time.pass(1_000);
    heard.get("offline")();
    assert.deepEqual(Socket.last.sent, ['{"op":"ping"}']);
    time.pass(3_000);
    assert.equal(events.status.kind, "disconnected");
    heard.get("online")();
    assert.equal(Socket.all.length, 2);
    // One that is not open yet cannot be asked.
    heard.get("offline")();
    assert.deepEqual(Socket.last.sent, []);
    events.close();
    assert.equal(heard.size, 0);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});

test("the delay doubles up to its bound, and a connection that held begins anew", async () => {
  const events = start({ backoffBaseMs: 1000, backoffCapMs: 6000, backoffStableMs: 10_000, onEvent: () => {} });
  const delays = [];
  for (let round = 0; round < 5; round++) {
    Socket.last.fail();
    await settled();
    delays.push(events.status.retrySeconds);
    time.pass(3_000);
  }
  assert.deepEqual(delays, [0.5, 1, 2, 3, 3]);
  assert.equal(events.reconnects, 5);
  Socket.last.open(live(0));
  time.pass(10_000);
  Socket.last.fail();
  assert.equal(String(events.status), "disconnected, retrying in 1 s");
});

test("a try can be had at once", async () => {
  const events = start({ backoffBaseMs: 60_000, backoffCapMs: 60_000, onEvent: () => {} });
  Socket.last.fail();
  await settled();
  assert.equal(String(events.status), "disconnected, retrying in 30 s");
  events.retry();
  assert.equal(Socket.all.length, 2);
  Socket.last.open(live(0));
  events.retry();
  assert.deepEqual(Socket.last.sent, ['{"op":"ping"}']);
});

test("a connection that does not open in time is given up", async () => {
  start({ openTimeoutMs: 4_000, backoffBaseMs: 0, onEvent: () => {} });
  time.pass(4_000);
  assert.equal(Socket.all[0].closed, true);
  time.pass(0);
  assert.equal(Socket.all.length, 2);
});

test("what an iterator leaves unread is bounded, and comes when it is taken", async () => {
  const events = start({ since: "earliest", maxWaiting: 10 });
  Socket.last.open();
  for (let seq = 1; seq <= 40; seq++) Socket.last.say(delta(seq));
  assert.equal(Socket.all[0].closed, true);
  assert.equal(events.status.kind, "behind");
  const taken = [];
  for (let count = 0; count < 40; count++) {
    const { value } = await events.next();
    taken.push(value.seq);
    if (Socket.all.length > 1 && Socket.last.onopen !== null && !Socket.last.asked) {
      Socket.last.asked = true;
      const since = Number(Socket.last.since.split(":")[1]);
      Socket.last.open();
      for (let seq = since + 1; seq <= 40; seq++) Socket.last.say(delta(seq));
    }
  }
  assert.deepEqual(taken, Array.from({ length: 40 }, (_, number) => number + 1));
  assert.ok(Socket.all.length > 3);
});

test("what is being verified is bounded, too", async () => {
  const seen = [];
  start({ since: "earliest", verify: true, maxWaiting: 10, onEvent: (event) => seen.push(event.seq) });
  Socket.last.open(...chained(Array(20).fill(2000)));
  assert.equal(Socket.all[0].closed, true);
  while (Socket.all.length < 2) await settled();
  while (seen.length < 11) await settled();
  assert.equal(Socket.last.since.split(":")[1], "11");
  assert.deepEqual(seen, Array.from({ length: 11 }, (_, number) => number + 1));
});

/** Long states take their time; what is short is verified at once, and still waits its turn. */
const MIXED = [2000, 1, 1, 3000, 0, 500, 600, 1, 70_000, 1];

test("deltas are verified in order, whatever their size, and what is wrong is told in its place", async () => {
  const seen = [];
  start({ since: "earliest", verify: true, onEvent: ({ seq, proof }) => seen.push(`${seq} ${proof}`) });
  Socket.last.open(...chained(MIXED));
  while (seen.length < MIXED.length) await settled();
  assert.deepEqual(seen, MIXED.map((_, index) => `${index + 1} linked`));
  for (let bad = 1; bad <= MIXED.length; bad++) {
    const messages = chained(MIXED);
    messages[bad - 1] = messages[bad - 1].replace('"n":', '"N":');
    const events = start({ since: "earliest", verify: true });
    Socket.last.open(...messages);
    const got = [];
    await assert.rejects(async () => { for await (const { seq } of events) got.push(seq); }, { name: "ChainBroken", seq: bad });
    assert.deepEqual(got, Array.from({ length: bad - 1 }, (_, index) => index + 1));
  }
});

test("where there is no WebCrypto it verifies by itself", async () => {
  const found = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  Object.defineProperty(globalThis, "crypto", { value: {}, configurable: true });
  try {
    const seen = [];
    start({ since: "earliest", verify: true, onEvent: ({ proof }) => seen.push(proof) });
    Socket.last.open(...chained(MIXED));
    assert.deepEqual(seen, MIXED.map(() => "linked")); // at once
  } finally {
    Object.defineProperty(globalThis, "crypto", found);
  }
});

test("a digest is SHA-256, of any size", () => {
  const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 31) ^ (index >> 7));
  for (const size of [...Array(260).keys(), 4095, 4096, 65_535, 100_000]) {
    const part = bytes.subarray(0, size);
    assert.equal(Buffer.from(sha256(part)).toString("hex"), digest(part).toString("hex"), `${size} bytes`);
  }
  assert.equal(Buffer.from(sha256(new Uint8Array())).toString("hex").slice(0, 8), "e3b0c442");
});

test("a list of states is taken whole, however long", async () => {
  const events = start({ since: "state", maxWaiting: 5 });
  Socket.last.open();
  for (let seq = 1; seq <= 20; seq++) Socket.last.say({ event: "state", seq, sessionId: `s${seq}`, state: seq });
  Socket.last.say(live(20));
  assert.equal(Socket.all.length, 1);
  for (let seq = 1; seq <= 20; seq++) assert.equal((await events.next()).value.state, seq);
  assert.equal(events.position, null);
});

test("a callback that throws costs nothing but is reported", async () => {
  const reported = [];
  const { queueMicrotask } = globalThis;
  globalThis.queueMicrotask = (call) => {
    try {
      call();
    } catch (error) {
      reported.push(error.message);
    }
  };
  const seen = [];
  start({
    onEvent: (event) => {
      seen.push(event.event);
      throw new Error(`at ${event.event}`);
    },
  });
  Socket.last.open(live(0), delta(1));
  globalThis.queueMicrotask = queueMicrotask;
  assert.deepEqual(seen, ["live", "delta"]);
  assert.deepEqual(reported, ["at live", "at delta"]);
});

test("closing ends iterators and may be done twice", async () => {
  const told = [];
  const events = start({ onStatus: (status) => told.push(String(status)) });
  Socket.last.open(live(0));
  time.pass(50);
  const first = events.next();
  assert.equal((await first).value.event, "live");
  const waiting = events.next();
  events.close();
  events.close();
  assert.deepEqual(await waiting, { value: undefined, done: true });
  assert.deepEqual(await events.next(), { value: undefined, done: true });
  await events.closed;
  assert.equal(Socket.last.closed, true);
  assert.deepEqual(told, ["behind 1", "disconnected"]);
});

test("what ended it is thrown once behind what was read, and told to onError", async () => {
  const told = [];
  const events = start({ onError: (error) => told.push(error.name) });
  Socket.last.open(live(0), { event: "error", code: "bad_subscription", message: "no" });
  assert.equal((await events.next()).value.event, "live");
  await assert.rejects(events.next(), ClientError);
  assert.deepEqual(await events.next(), { value: undefined, done: true });
  await assert.rejects(events.closed, /mend the subscription/);
  assert.deepEqual(told, ["ClientError"]);
});

test("a refusal that HTTP tells of is final, another is not", async () => {
  const answers = [503, 401];
  globalThis.fetch = async (url, { headers }) => {
    assert.equal(url, "http://recorder.example/api/stats");
    assert.deepEqual(headers, { Authorization: "Bearer t" });
    const status = answers.shift();
    return new Response(JSON.stringify({ detail: "because" }), { status });
  };
  const events = start({ token: "t", notices: true });
  assert.deepEqual(Socket.last.protocols, ["bearer.t"]);
  Socket.last.fail();
  await settled();
  assert.match((await events.next()).value.why, /503: because/);
  time.pass(1_000);
  Socket.last.fail();
  await settled();
  await assert.rejects(events.next(), /401: because/);
});

test("options that make no sense are refused", () => {
  for (const options of [
    { sesions: "a" },
    { sessions: [] },
    { types: "moved" },
    { since: "yesterday" },
    { token: "with space" },
    { url: "ftp://x" },
    { url: "http://u:p@x" },
    { url: "http://x/?token=t" },
    { maxWaiting: 0 },
  ]) {
    assert.throws(() => start(options), ClientError, JSON.stringify(options));
  }
  assert.equal(Socket.all.length, 0);
});

test("an address keeps its path, and what is asked for is spelled out", () => {
  start({ url: "https://x.example/recorder/", sessions: ["a b", "ü"], types: "created", since: new Date(0) });
  const url = new URL(Socket.last.url);
  assert.equal(`${url.protocol}//${url.host}${url.pathname}`, "wss://x.example/recorder/ws");
  assert.deepEqual([...url.searchParams], [
    ["session", "a b"],
    ["session", "ü"],
    ["type", "created"],
    ["since", "1970-01-01T00:00:00.000Z"],
  ]);
});

test("numbers that would change are kept as they are spelled", () => {
  const text = ' { "a" : [1, 2.0, 12345678901234567890, {"b":-0}] , "__proto__":{"x":[ ]}, "e":"q\\"}]", "a2":1e400 } ';
  const value = parseExact(text);
  assert.deepEqual(Object.keys(value), ["a", "__proto__", "e", "a2"]);
  assert.equal(value.a[0], 1);
  assert.deepEqual(value.a.slice(1, 3).map(String), ["2.0", "12345678901234567890"]);
  assert.ok(value.a[1] instanceof ExactNumber);
  assert.equal(String(value.a[3].b), "-0");
  assert.equal(value.e, 'q"}]');
  assert.equal(String(value.a2), "1e400");
  assert.equal({}.x, undefined);
  assert.throws(() => parseExact('{"a":01}'), SyntaxError);
  const found = [...members(text)].map(([name, raw]) => `${name}=${raw}`);
  assert.equal(found[0], 'a=[1, 2.0, 12345678901234567890, {"b":-0}]');
  assert.equal(found.length, 4);
});
