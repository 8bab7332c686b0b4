// Verifies a recording with the client module: `node verify.mjs OPTIONS` writes the report.
import { verify } from "../../recorder/dashboard/client.js";

const progress = [];
const report = await verify({ ...JSON.parse(process.argv[2]), onProgress: ({ checked }) => progress.push(checked) });
process.stdout.write(`${JSON.stringify({ ...report, progress })}\n`);
