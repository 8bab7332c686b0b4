/** Dialogs: one asks for an access token, one lists the keyboard shortcuts. */

import { el } from "./dom.js";

/**
 * Ask for a token.
 * @param {string} wrong Why the last token was rejected; "" where there was none.
 * @returns {Promise<string>}
 */
export function askForToken(wrong) {
  return new Promise((resolve) => {
    const input = el("input", {
      id: "token",
      type: "password",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": "token-help",
    });
    const form = el(
      "form",
      { class: "token" },
      el("h2", {}, "Access token required"),
      wrong && el("p", { class: "bad-text", role: "alert" }, wrong),
      el("label", { for: "token" }, "Token"),
      input,
      el(
        "p",
        { class: "dim", id: "token-help" },
        "A token with the role subscribe is enough. It is stored for this tab only and removed when the tab is closed.",
      ),
      el("button", { class: "primary", type: "submit" }, "Continue"),
    );
    const dialog = el("dialog", { "aria-label": "Access token" }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = input.value.trim();
      if (!token) return;
      dialog.close();
      dialog.remove();
      resolve(token);
    });
    // Without a token there is nothing to show.
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}

const KEYS = [
  ["g l, g i", "go to Live, to Integrity"],
  ["/", "Live: filter the events by text"],
  ["p", "Live: pause or resume the events"],
  ["↑ ↓ Page Home End", "list: move; Enter opens"],
  ["← →", "session: previous or next delta"],
  ["Shift ← →", "session: ten deltas back or forward"],
  ["Home End", "session: first or last delta"],
  ["Space", "session: play or stop"],
  ["l", "session: follow live"],
  ["1 2 3", "session: changes, state, raw JSON"],
  ["?", "this list"],
];

/** Show the keyboard shortcuts. */
export function showKeys() {
  const rows = KEYS.map(([keys, what]) => [
    el("dt", {}, ...keys.split(", ").flatMap((key, index) => [index ? ", " : "", el("kbd", {}, key)])),
    el("dd", {}, what),
  ]);
  const dialog = el(
    "dialog",
    { "aria-label": "Keyboard shortcuts", on: { close: () => dialog.remove() } },
    el("h2", {}, "Keyboard shortcuts"),
    el("dl", { class: "keys" }, ...rows.flat()),
    el("button", { type: "button", class: "primary", on: { click: () => dialog.close() } }, "Close"),
  );
  document.body.append(dialog);
  dialog.showModal();
}
