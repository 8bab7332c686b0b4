/** The first steps that an empty page shows, as commands to copy. */

import { BASE } from "./api.js";
import { announce, el } from "./dom.js";

/**
 * Show a command, with a button that copies it.
 * @param {string} command
 * @returns {HTMLElement}
 */
export function commandToCopy(command) {
  const button = el("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", () => void copy(command, button));
  return el("div", { class: "command" }, el("pre", { tabindex: 0, "aria-label": "Command" }, command), button);
}

/**
 * Copy a text, and report it on the button.
 * @param {string} text
 * @param {HTMLElement} button
 */
export async function copy(text, button) {
  const label = button.dataset.label ?? button.textContent ?? "";
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    announce("Copied");
  } catch {
    // A page that came by plain HTTP from another machine has no access to the clipboard.
    button.textContent = "The browser did not allow it";
  }
  setTimeout(() => {
    button.textContent = label;
  }, 1500);
}

/**
 * Return the command that publishes a first delta.
 * @param {string | null} token Whether one is required; the token itself is not shown.
 * @returns {string}
 */
export function firstDelta(token) {
  const allowed = token === null ? "" : ` \\\n  -H "Authorization: Bearer $RECORDER_TOKEN"`;
  return (
    `curl ${BASE}api/deltas -H 'Content-Type: application/json'${allowed} \\\n` +
    `  -d '{"type":"created","sessionId":"my-first-session","after":{"planStatus":"pending"}}'`
  );
}

/**
 * Return the command that publishes the next delta of that session.
 * @param {string | null} token
 * @returns {string}
 */
export function nextDelta(token) {
  return firstDelta(token)
    .replace('"created"', '"updated"')
    .replace('"pending"', '"in_progress"');
}
