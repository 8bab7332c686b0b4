/**
 * Elements, made without markup: whatever comes from data becomes text.
 *
 * There is no way through here from a string to an element: children that are strings become text nodes, and
 * attributes that would run or load something are not set from data by anybody.
 */

/** How many characters of a name stay in sight at its end. */
const TAIL = 8;

const SVG = "http://www.w3.org/2000/svg";

/**
 * What can stand in an element.
 * @typedef {Node | string | number | null | undefined | false} Child
 */

/**
 * An element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [props] `class`, `on` (listeners by event), `data` (data- attributes), `style` (custom
 *   properties and others), and attributes; a value of null, undefined or false leaves one out, true is an empty one.
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  decorate(made, props);
  append(made, children);
  return made;
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(tag, props = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  decorate(made, props);
  append(made, children);
  return /** @type {SVGElement} */ (made);
}

/**
 * Put these in the place of what an element holds.
 * @param {Element} parent
 * @param {...Child} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/**
 * Set an element's text, if it is another one: a text that is set again is read aloud again.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Put a name into an element so that its end stays in sight where there is no room for the whole: ids that are made by
 * counting differ there.
 * @param {HTMLElement} element
 * @param {string} name
 */
export function nameIn(element, name) {
  if (element.textContent === name) return;
  const characters = Array.from(name);
  const split = Math.max(0, characters.length - TAIL);
  fill(
    element,
    el("span", { class: "name-start" }, characters.slice(0, split).join("")),
    el("span", { class: "name-end" }, characters.slice(split).join("")),
  );
  element.title = name;
}

/**
 * Tell those who cannot see it.
 * @param {string} text
 */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (announcer) say(announcer, text);
}

/**
 * The element of an id, which the page has.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {Element} made @param {Record<string, any>} props */
function decorate(made, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") made.setAttribute("class", value);
    else if (name === "on") {
      for (const [event, listener] of Object.entries(value)) made.addEventListener(event, /** @type {any} */ (listener));
    } else if (name === "data") {
      for (const [key, text] of Object.entries(value)) /** @type {any} */ (made).dataset[key] = text;
    } else if (name === "style") {
      for (const [key, text] of Object.entries(value)) /** @type {any} */ (made).style.setProperty(key, String(text));
    } else made.setAttribute(name, value === true ? "" : String(value));
  }
}

/** @param {Element} parent @param {Child[]} children */
function append(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}
