/** What an empty page teaches: the first step, as a command to copy. */

import { announce, el } from "./dom.js";

/**
 * A command to copy.
 * @param {string} command
 * @returns {HTMLElement}
 */
export function commandToCopy(command) {
  const button = el("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", () => void copy(command, button));
  return el("div", { class: "command" }, el("pre", { tabindex: 0, "aria-label": "Command" }, command), button);
}

/**
 * Copy a text, and say so on the button.
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
    // Not every page may: one that did not come by https, or from this machine.
    button.textContent = "The browser does not let me";
  }
  setTimeout(() => {
    button.textContent = label;
  }, 1500);
}

/**
 * How to publish the first delta, from here.
 * @param {string | null} token Whether one is wanted; itself it is not shown.
 * @returns {string}
 */
export function firstDelta(token) {
  const allowed = token === null ? "" : ` \\\n  -H "Authorization: Bearer $RECORDER_TOKEN"`;
  return (
    `curl ${location.origin}/api/deltas -H 'Content-Type: application/json'${allowed} \\\n` +
    `  -d '{"type":"created","sessionId":"my-first-session","after":{"planStatus":"pending"}}'`
  );
}

/**
 * The same session, a step further.
 * @param {string | null} token
 * @returns {string}
 */
export function nextDelta(token) {
  return firstDelta(token)
    .replace('"created"', '"updated"')
    .replace('"pending"', '"in_progress"');
}
