/**
 * A list of any length of which only the visible rows exist.
 *
 * All rows have one height (`--row` of the list's style). The element of a row is reused for another item when its item
 * is no longer visible, so that a frame costs only the rows that changed. For keyboards and screen readers it is a
 * listbox with one tab stop: arrows, Page Up, Page Down, Home and End move, Enter opens. Where items have an address, a
 * row is a link, so that it can be opened in a new tab or copied.
 */

import { el } from "./dom.js";

const OVERSCAN = 4;
const SLIP = 8; // pixels that a press may move and still mean what it began on

/**
 * @template T
 * @typedef {object} ListOptions
 * @property {string} label What it is a list of.
 * @property {string} [class]
 * @property {(item: T) => string | number} key What tells items apart.
 * @property {(row: HTMLElement, item: T, fresh: boolean) => void} draw Fills a row; `fresh`: it held another item.
 * @property {(item: T) => void} onOpen
 * @property {(item: T) => string} [address] Of an item: its row is a link to it.
 * @property {(top: number, bottom: number) => void} [onScroll] Pixels above and below what is in sight.
 * @property {(item: T) => void} [onMove] The keyboard moved to an item.
 */

let lists = 0;

/** @template T */
export class VirtualList {
  /** @param {ListOptions<T>} options */
  constructor(options) {
    this.options = options;
    /** @type {T[]} */
    this.items = [];
    this.reversed = false; // whether the last item stands first
    /** @type {Map<string | number, HTMLElement>} */
    this.rows = new Map(); // in sight, by key
    /** @type {HTMLElement[]} */
    this.spare = []; // elements not in use
    /** @type {WeakMap<HTMLElement, T>} */
    this.held = new WeakMap(); // what each row shows
    /** @type {string | number | null} */
    this.active = null; // key of the item that the keyboard is at
    /** @type {{item: T, x: number, y: number} | null} */
    this.pressed = null; // what a pointer went down on last, and where
    this.rowHeight = 0; // in pixels; measured when shown
    this.name = `list-${++lists}`; // for ids of rows
    this.made = 0; // rows made, for their ids
    this.space = el("div", { class: "list-space", role: "presentation" });
    this.element = el(
      "div",
      {
        class: `list ${options.class ?? ""}`,
        role: "listbox",
        tabindex: 0,
        "aria-label": options.label,
        on: {
          scroll: () => this.scrolled(),
          keydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event),
          pointerdown: (/** @type {PointerEvent} */ event) => this.onPress(event),
          click: (/** @type {MouseEvent} */ event) => this.onClick(event),
        },
      },
      this.space,
    );
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
  }

  /**
   * Show these, or what has become of them.
   * @param {T[]} items
   * @param {boolean} [reversed] Whether the last one stands first.
   */
  show(items, reversed = false) {
    this.items = items;
    this.reversed = reversed;
    this.draw(true);
  }

  /** Give back what it holds outside. */
  close() {
    this.observer.disconnect();
  }

  /**
   * Bring an item into sight and let the keyboard be at it.
   * @param {number} index In the order shown.
   */
  goTo(index) {
    const item = this.at(index);
    if (item === undefined) return;
    this.active = this.options.key(item);
    const { scrollTop, clientHeight } = this.element;
    const top = index * this.rowHeight;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight) {
      this.element.scrollTop = top + this.rowHeight - clientHeight;
    }
    this.draw(false);
  }

  /** @param {number} index In the order shown. @returns {T | undefined} */
  at(index) {
    return this.items[this.reversed ? this.items.length - 1 - index : index];
  }

  resize() {
    const height = Number.parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 32;
    if (height !== this.rowHeight) {
      this.rowHeight = height;
      for (const row of this.rows.values()) row.remove();
      this.rows.clear();
    }
    this.draw(false);
  }

  scrolled() {
    this.draw(false);
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    this.options.onScroll?.(scrollTop, scrollHeight - clientHeight - scrollTop);
  }

  /** @param {boolean} all Whether rows that stay are drawn again. */
  draw(all) {
    if (!this.rowHeight) return;
    const count = this.items.length;
    this.space.style.height = `${count * this.rowHeight}px`;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / this.rowHeight) - OVERSCAN);
    const last = Math.min(count, Math.ceil((scrollTop + clientHeight) / this.rowHeight) + OVERSCAN);
    const wanted = new Map();
    for (let index = first; index < last; index++) {
      const item = /** @type {T} */ (this.at(index));
      wanted.set(this.options.key(item), { item, index });
    }
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      this.rows.delete(key);
      this.spare.push(row);
    }
    for (const [key, { item, index }] of wanted) this.place(key, item, index, count, all);
    for (const row of this.spare) row.remove();
    this.spare.length = Math.min(this.spare.length, 60);
    this.mark();
  }

  /**
   * @param {string | number} key
   * @param {T} item
   * @param {number} index
   * @param {number} count
   * @param {boolean} again
   */
  place(key, item, index, count, again) {
    let row = this.rows.get(key);
    if (!row) {
      row = this.spare.pop() ?? this.newRow();
      this.rows.set(key, row);
      if (!row.isConnected) this.space.append(row);
    }
    // An item that was read anew is another one: its content may have been erased.
    const fresh = this.held.get(row) !== item;
    this.held.set(row, item);
    row.style.transform = `translateY(${index * this.rowHeight}px)`;
    row.setAttribute("aria-posinset", String(index + 1));
    row.setAttribute("aria-setsize", String(count));
    row.dataset.index = String(index);
    if (this.options.address && fresh) row.setAttribute("href", this.options.address(item));
    if (fresh || again) this.options.draw(row, item, fresh);
  }

  /** @returns {HTMLElement} */
  newRow() {
    const props = { class: "row", role: "option", id: `${this.name}-${++this.made}` };
    // The list is the tab stop, not each link in it.
    return this.options.address ? el("a", { ...props, tabindex: -1, draggable: "false" }) : el("div", props);
  }

  /** Mark the row that the keyboard is at. */
  mark() {
    let id = null;
    for (const [key, row] of this.rows) {
      const isActive = key === this.active;
      row.setAttribute("aria-selected", String(isActive));
      if (isActive) id = row.id;
    }
    if (id) this.element.setAttribute("aria-activedescendant", id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** @returns {number} Where the keyboard is, -1 where nowhere. */
  activeIndex() {
    const row = this.active === null ? null : this.rows.get(this.active);
    if (row) return Number(row.dataset.index);
    const index = this.items.findIndex((item) => this.options.key(item) === this.active);
    return index >= 0 && this.reversed ? this.items.length - 1 - index : index;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight) - 1);
    const last = this.items.length - 1;
    const here = this.activeIndex();
    const there = {
      ArrowDown: here + 1,
      ArrowUp: here - 1,
      PageDown: here + page,
      PageUp: here - page,
      Home: 0,
      End: last,
    }[event.key];
    if (there !== undefined && last >= 0) {
      event.preventDefault();
      event.stopPropagation();
      this.goTo(Math.min(last, Math.max(0, there)));
      const item = this.at(this.activeIndex());
      if (item !== undefined) this.options.onMove?.(item);
    } else if (event.key === "Enter" && here >= 0) {
      event.preventDefault();
      this.options.onOpen(/** @type {T} */ (this.at(here)));
    }
  }

  /** @param {Event} event @returns {T | undefined} What the row shows that it happened to. */
  itemOf(event) {
    const row = event.target instanceof Element ? /** @type {HTMLElement | null} */ (event.target.closest(".row")) : null;
    return row ? this.at(Number(row.dataset.index)) : undefined;
  }

  /** @param {PointerEvent} event */
  onPress(event) {
    const item = this.itemOf(event);
    this.pressed = item === undefined ? null : { item, x: event.clientX, y: event.clientY };
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    // Rows may move between press and release: the pressed row counts. A click that no pointer made has no detail.
    const { pressed } = this;
    this.pressed = null;
    // With a modifier the browser opens the link in a new tab or window.
    if (this.options.address && (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) return;
    event.preventDefault();
    const slipped = pressed && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > SLIP;
    const item = event.detail === 0 ? this.itemOf(event) : slipped ? undefined : pressed?.item;
    if (item === undefined) return;
    this.active = this.options.key(item);
    this.mark();
    this.options.onOpen(item);
  }
}
