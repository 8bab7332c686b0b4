/** Figures as people read them. Pure: what time it is, is given. */

const DAY = 86_400_000;

/**
 * A whole number with its thousands apart: 1,234,567.
 * @param {number} value
 * @returns {string}
 */
export function count(value) {
  return Math.round(value).toLocaleString("en-US");
}

/**
 * A number of something: "1 delta", "1,234 deltas".
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 * @returns {string}
 */
export function several(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/**
 * A rate, short enough for a figure: 0, 0.4, 12, 5,210.
 * @param {number} value
 * @returns {string}
 */
export function rate(value) {
  return value > 0 && value < 10 && !Number.isInteger(value) ? value.toFixed(1) : count(value);
}

/**
 * Bytes: 512 B, 1.4 kB, 23 MB.
 * @param {number} bytes
 * @returns {string}
 */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/**
 * A length of time, in its two largest units at most: 850 ms, 12 s, 4 min, 2 h 5 min, 3 d.
 * @param {number} ms
 * @returns {string}
 */
export function duration(ms) {
  if (ms < 0) return duration(0);
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${count(Math.floor(hours / 24))} d`;
}

/**
 * How long ago: "now", "12 s ago". What lies in the future by a clock's error is now.
 * @param {string | null | undefined} time
 * @param {number} now
 * @returns {string}
 */
export function ago(time, now) {
  const then = Date.parse(time ?? "");
  if (Number.isNaN(then)) return "";
  return now - then < 1000 ? "now" : `${duration(now - then)} ago`;
}

/**
 * The time of day, with the day where it is another one: 14:03:07.123, 2026-11-20 14:03:07.123; in local time.
 * @param {string} time
 * @param {number} now
 * @returns {string}
 */
export function clock(time, now) {
  const then = new Date(time);
  if (Number.isNaN(then.getTime())) return time;
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const milliseconds = String(then.getMilliseconds()).padStart(3, "0");
  const day = `${then.getFullYear()}-${two(then.getMonth() + 1)}-${two(then.getDate())}`;
  const hours = `${two(then.getHours())}:${two(then.getMinutes())}:${two(then.getSeconds())}.${milliseconds}`;
  const today = new Date(now);
  const isToday = Math.abs(now - then.getTime()) < DAY && today.getDate() === then.getDate();
  return isToday ? hours : `${day} ${hours}`;
}

/**
 * The beginning of a text that is too long.
 * @param {string} text
 * @param {number} most
 * @returns {string}
 */
export function clip(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/**
 * A text in which nothing is invisible: control characters and those that turn the direction of writing are shown as
 * what they are, so that a session's id cannot pose as another one.
 * @param {string} text
 * @returns {string}
 */
export function visible(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (found) => {
    const code = found.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}
