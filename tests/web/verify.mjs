// Verifies a recording with the client module: `node verify.mjs OPTIONS` writes the report, or why there is none.
import { verify } from "../../recorder/web/sdk/client.js";

const progress = [];
const options = { ...JSON.parse(process.argv[2]), onProgress: ({ checked }) => progress.push(checked) };
const found = await verify(options).then(
  (report) => ({ ...report, progress }),
  (error) => ({ failed: error.message, name: error.name }),
);
process.stdout.write(`${JSON.stringify(found)}\n`);
