/** Dialogs: the one that asks for a token, and the one that names the keys. */

import { el } from "./dom.js";

/**
 * Ask for a token.
 * @param {string} wrong What is wrong with the one there was; "" where there was none.
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
      el("h2", {}, "This recorder wants a token"),
      wrong && el("p", { class: "bad-text", role: "alert" }, wrong),
      el("label", { for: "token" }, "Token"),
      input,
      el(
        "p",
        { class: "dim", id: "token-help" },
        "One with the role subscribe is enough. It is kept for this tab alone, and gone when the tab is closed.",
      ),
      el("button", { class: "primary", type: "submit" }, "Go on"),
    );
    const dialog = el("dialog", { "aria-label": "Token" }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = input.value.trim();
      if (!token) return;
      dialog.close();
      dialog.remove();
      resolve(token);
    });
    // There is nothing to see without one.
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}

const KEYS = [
  ["g n, g t", "go to Now, to Trust"],
  ["/", "filter the feed, or find a session"],
  ["p", "Now: hold the feed, or let it run"],
  ["↑ ↓ Page Home End", "move in a list; Enter opens"],
  ["← →", "a session: one delta back or on"],
  ["Shift ← →", "the same by ten"],
  ["Home End", "a session: the first delta, the last"],
  ["Space", "a session: play, or stop"],
  ["l", "a session: follow live"],
  ["1 2 3", "a session: changes, whole state, as sent"],
  ["?", "this list"],
];

/** Show the keys. */
export function showKeys() {
  const rows = KEYS.map(([keys, what]) => [
    el("dt", {}, ...keys.split(", ").flatMap((key, index) => [index ? ", " : "", el("kbd", {}, key)])),
    el("dd", {}, what),
  ]);
  const dialog = el(
    "dialog",
    { "aria-label": "Keys", on: { close: () => dialog.remove() } },
    el("h2", {}, "Keys"),
    el("dl", { class: "keys" }, ...rows.flat()),
    el("button", { type: "button", class: "primary", on: { click: () => dialog.close() } }, "Close"),
  );
  document.body.append(dialog);
  dialog.showModal();
}
