/** Light, dark, or as the system has it: one button that goes round, remembered by the browser. */

import { byId } from "./dom.js";

const KEY = "recorder-theme";
const THEMES = ["system", "light", "dark"];
const SIGNS = { system: "◐", light: "☀", dark: "☾" };

/** Show what was chosen last, and let the button choose. */
export function startTheme() {
  const button = byId("theme");
  apply(localStorage.getItem(KEY) ?? "system", button);
  button.addEventListener("click", () => {
    const here = document.documentElement.dataset.theme ?? "system";
    const next = THEMES[(THEMES.indexOf(here) + 1) % THEMES.length];
    localStorage.setItem(KEY, next);
    apply(next, button);
  });
}

/** @param {string} wanted @param {HTMLElement} button */
function apply(wanted, button) {
  const theme = THEMES.includes(wanted) ? /** @type {keyof typeof SIGNS} */ (wanted) : "system";
  document.documentElement.dataset.theme = theme;
  button.textContent = SIGNS[theme];
  button.setAttribute("aria-label", `Theme: ${theme}`);
  button.title = `Theme: ${theme}`;
}
