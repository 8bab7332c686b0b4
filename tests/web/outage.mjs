// What the JavaScript client says and does where no connection can be made, or its token is refused.

import { subscribe } from "../../recorder/web/sdk/client.js";

const [url, kind, list] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const tokens = JSON.parse(list ?? "[]");
let asked = 0;

const next = () => tokens[Math.min(asked++, tokens.length - 1)];
const TOKEN = {
  none: undefined,
  text: tokens[0],
  function: next,
  async: async () => next(),
  nothing: () => undefined,
  late: () => new Promise(() => {}),
  failing: () => {
    if (asked++ < 2) throw new Error("the identity provider is away");
    return tokens[0];
  },
};

subscribe({
  url,
  token: TOKEN[kind],
  notices: true,
  backoffBaseMs: 1,
  openTimeoutMs: kind === "late" ? 20 : 10_000,
  onEvent: ({ event }) => say({ event, asked }),
  onWarning: (message) => say({ event: "warning", message }),
  onError: ({ name, message }) => {
    say({ event: "error", name, message, asked });
    process.exit();
  },
});
