// Reads with the JavaScript client whatever is asked for; writes what came as one line of JSON.

import { reader } from "../../recorder/web/sdk/client.js";

const [url, token, name, ...args] = JSON.parse(process.argv[2]);
const read = reader({ url, token: token ?? undefined });
try {
  let found = read[name](...args);
  if (found[Symbol.asyncIterator]) {
    const all = [];
    for await (const one of found) all.push({ ...one, position: one.position, rawAfter: one.rawAfter });
    found = all;
  } else found = await found;
  if (name === "export") found = await new Response(found).text();
  process.stdout.write(`${JSON.stringify({ found })}\n`);
} catch ({ name, message, code }) {
  process.stdout.write(`${JSON.stringify({ failed: name, message, code })}\n`);
}
