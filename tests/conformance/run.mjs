// Runs the conformance cases with a JavaScript client, in a browser or in Node; what it got goes back to the test.

const SHOWN = {
  hello: (e) => `hello ${e.epoch} ${e.head}`,
  delta: (e) => `delta ${e.seq} ${e.delta.sessionId} ${e.rawAfter ?? "-"}${e.proof === null ? "" : ` ${e.proof}`}`,
  state: (e) => `state ${e.seq} ${e.sessionId} ${e.rawState}`,
  live: (e) => `live ${e.seq}`,
  reset: (e) => `reset ${e.reason} ${e.epoch} ${e.oldest ?? "-"} ${e.head}`,
  heartbeat: (e) => `heartbeat ${e.head} ${e.durable}`,
  erased: (e) => `erased ${e.sessionId} ${e.through} ${e.count}`,
  conflated: (e) => `conflated ${e.from} ${e.to} ${e.count}`,
  disconnected: () => "disconnected",
};

export async function runCase({ subscribe }, url, { options, gets, fails }) {
  const events = subscribe({ url, backoffBaseMs: 0, ...options });
  const got = [];
  const result = { gets: got, fails: null, seq: null };
  try {
    while (got.length < gets.length || fails) {
      const { value } = await events.next();
      got.push(SHOWN[value.event](value));
    }
  } catch (error) {
    result.fails = error.name;
    result.seq = error.seq ?? null;
    result.message = error.message;
  }
  const { position, duplicates, violations } = events;
  Object.assign(result, { position, duplicates, violations, status: String(events.status) });
  events.close();
  return result;
}

export async function runAll(client, url, cases) {
  return Promise.all(cases.map((one, number) => runCase(client, `${url}/${number}`, one)));
}

if (globalThis.process?.argv[2]) {
  const { default: { readFileSync } } = await import("node:fs");
  const client = await import("../../recorder/web/sdk/client.js");
  const results = await runAll(client, process.argv[2], JSON.parse(readFileSync(0, "utf8")));
  process.stdout.write(JSON.stringify(results));
}
