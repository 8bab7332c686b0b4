// Follows a recorder with the client module: `node follow.mjs OPTIONS`, one event a line, until stdin ends.
import { Delta, State, parseExact, subscribe } from "../../recorder/web/sdk/client.js";

const say = (/** @type {unknown} */ line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const events = subscribe(JSON.parse(process.argv[2]));
process.stdin.on("end", () => events.close()).resume();
try {
  for await (const event of events) {
    const more = { position: events.position, status: events.status.kind };
    if (event instanceof Delta) {
      const { rawAfter } = event;
      say({ ...event, ...more, rawAfter, exact: String(parseExact(rawAfter ?? "0").n) });
    } else if (event instanceof State) say({ ...event, ...more, rawState: event.rawState });
    else say({ ...event, ...more });
  }
  say({ event: "closed" });
} catch (error) {
  say({ event: "failed", name: error.name, message: error.message });
}
