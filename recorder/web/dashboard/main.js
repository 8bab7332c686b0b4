/** Start the dashboard: make what lasts as long as the page, and show the view that the address names. */

import { Api, ApiError } from "./api.js";
import { askForToken, showKeys } from "./dialogs.js";
import { announce, byId, fill } from "./dom.js";
import { FreshnessMark } from "./freshness.js";
import { IntegrityView } from "./integrity.js";
import { LiveModel } from "./live-model.js";
import { LiveView } from "./live.js";
import { RecordingMark } from "./recording.js";
import { parseRoute, sessionAddress } from "./router.js";
import { SessionView } from "./session.js";
import { Source } from "./source.js";
import { startTheme } from "./theme.js";

/** @typedef {{element: HTMLElement, close(): void, onKey(event: KeyboardEvent): boolean}} View */

const api = new Api(askForToken);
const source = new Source(api, (error) => void onEnd(error));
const model = new LiveModel(api, source);
const freshness = new FreshnessMark(byId("freshness"), () => source.status, () => source.retry());
const recording = new RecordingMark(byId("recording"), () => source.figures);
source.listen({ onFigures: () => recording.draw() });
/** @type {View | null} */
let view = null;
let lead = ""; // the first key of a sequence of two
let shown = 0; // changes of the address that are shown already, and that the browser has not reported yet

startTheme();
addEventListener("hashchange", () => (shown > 0 ? shown-- : show()));
document.addEventListener("keydown", onKey);
byId("keys").addEventListener("click", showKeys);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (byId("find-session"));
  if (input.value) go(sessionAddress(input.value));
  input.value = "";
  input.blur();
});
void begin();

/** Show the view and connect. */
async function begin() {
  show();
  source.start();
}

/**
 * Handle the end of the subscription: ask for a token where one is required, else show the error.
 * @param {Error} error
 */
async function onEnd(error) {
  // A browser does not tell why an upgrade was rejected. An HTTP request does, and asks for a token where one is required.
  const before = api.token;
  let asked = false;
  try {
    await api.text("api/stats");
  } catch (refused) {
    // The token is valid but may not read. Without this dialog there would be no way to enter another one.
    if (before !== null && refused instanceof ApiError && refused.status === 403) {
      await api.needToken(before, `This token may not read: ${refused.message}.`);
      asked = true;
    }
    // In all other cases the error of the subscription tells more.
  }
  if (asked || api.token !== before) {
    freshness.end("");
    source.start();
  } else freshness.end(error.message);
}

/**
 * Show an address at once, so that the next key goes to its view.
 * @param {string} address
 */
function go(address) {
  const before = location.href;
  location.hash = address;
  if (location.href === before) return;
  shown++;
  show();
}

/** Show the view that the address names. */
function show() {
  const route = parseRoute(location.hash);
  // A session that is shown already moves to another of its deltas.
  if (view instanceof SessionView && route.view === "session" && view.goTo(route)) return;
  const inside = byId("main").contains(document.activeElement);
  view?.close();
  if (route.view === "session") view = new SessionView(route, { api, source, go });
  else if (route.view === "integrity") view = new IntegrityView({ api, source, go });
  else view = new LiveView(model, source, go);
  const name = route.view === "session" ? route.id : route.view === "integrity" ? "Integrity" : "Live";
  document.title = `${name} · Recorder`;
  announce(name);
  fill(byId("main"), view.element);
  // Keep the keyboard in the view, not at the top of the page.
  if (inside) byId("main").focus({ preventScroll: true });
  for (const link of document.querySelectorAll("nav a")) {
    const here = /** @type {HTMLElement} */ (link).dataset.view === route.view;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.matches("input, select, textarea")) {
    // The keys of a slider are the same as those of the view, so the view handles them.
    if (event.key === "Escape") target.blur();
    if (target.getAttribute("type") !== "range") return;
  }
  const before = lead;
  lead = event.key === "g" ? "g" : "";
  let taken = true;
  if (before === "g" && event.key === "l") go("#/");
  else if (before === "g" && event.key === "i") go("#/integrity");
  else if (event.key === "?") showKeys();
  else taken = view?.onKey(event) ?? false;
  if (taken) event.preventDefault();
}
