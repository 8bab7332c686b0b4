/** The dashboard begins here. */
import { byId, el, fill } from "./dom.js";

fill(byId("main"), el("p", { class: "empty" }, "It is running."));
