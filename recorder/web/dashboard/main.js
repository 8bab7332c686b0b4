/** The dashboard begins here: what lasts as long as the page, and which view is shown. */

import { Api, ApiError } from "./api.js";
import { askForToken, showKeys } from "./dialogs.js";
import { announce, byId, fill } from "./dom.js";
import { FreshnessMark } from "./freshness.js";
import { NowModel } from "./now-model.js";
import { NowView } from "./now.js";
import { parseRoute, sessionAddress } from "./router.js";
import { SessionView } from "./session.js";
import { Source } from "./source.js";
import { startTheme } from "./theme.js";
import { TrustView } from "./trust.js";

/** @typedef {{element: HTMLElement, close(): void, onKey(event: KeyboardEvent): boolean}} View */

const api = new Api(askForToken);
const source = new Source(api, (error) => void onEnd(error));
const model = new NowModel(api, source);
const freshness = new FreshnessMark(byId("freshness"), () => source.status, () => source.retry());
/** @type {View | null} */
let view = null;
let lead = ""; // the key that begins a sequence of two
let shown = 0; // changes of the address that are shown already, and that the browser has still to tell of

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

/** Connect, with a token where one is wanted. */
async function begin() {
  show();
  source.start();
}

/**
 * The subscription is over for good.
 * @param {Error} error
 */
async function onEnd(error) {
  // A browser is not told why an upgrade was refused; a question over HTTP is, and asks for a token where one is wanted.
  const before = api.token;
  let asked = false;
  try {
    await api.text("/api/stats");
  } catch (refused) {
    // A token that is valid and not for reading: without another one there is nothing to see, and no way to give it.
    if (before !== null && refused instanceof ApiError && refused.status === 403) {
      await api.needToken(before, `That token does not do here: ${refused.message}.`);
      asked = true;
    }
    // Else the error itself says best what is wrong.
  }
  if (asked || api.token !== before) {
    freshness.end("");
    source.start();
  } else freshness.end(error.message);
}

/**
 * Show what is at an address, at once: the next key is for the view that is there then.
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
  // A session that is shown already moves to another of its deltas by itself.
  if (view instanceof SessionView && route.view === "session" && view.goTo(route)) return;
  const inside = byId("main").contains(document.activeElement);
  view?.close();
  if (route.view === "session") view = new SessionView(route, { api, source, go });
  else if (route.view === "trust") view = new TrustView({ api, source, go });
  else view = new NowView(model, source, go);
  const name = route.view === "session" ? route.id : route.view === "trust" ? "Trust" : "Now";
  document.title = `${name} · Recorder`;
  announce(name);
  fill(byId("main"), view.element);
  // The keyboard goes on in the view, not from the top of the page.
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
    // A slider's own keys are the same as the view's, so the view has them.
    if (event.key === "Escape") target.blur();
    if (target.getAttribute("type") !== "range") return;
  }
  const before = lead;
  lead = event.key === "g" ? "g" : "";
  let taken = true;
  if (before === "g" && event.key === "n") go("#/");
  else if (before === "g" && event.key === "t") go("#/trust");
  else if (event.key === "?") showKeys();
  else taken = view?.onKey(event) ?? false;
  if (taken) event.preventDefault();
}
