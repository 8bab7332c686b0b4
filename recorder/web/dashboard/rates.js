/**
 * How many in each second: a ring of buckets, and the bars that show it. Pure: what time it is, is given.
 *
 * Buckets are aligned to multiples of their width, so that a bar once drawn does not change but moves on.
 */

/** Counts per bucket over a stretch of time that moves with the clock. */
export class Rates {
  /**
   * @param {number} buckets How many.
   * @param {number} widthMs How long each is.
   */
  constructor(buckets, widthMs) {
    this.widthMs = widthMs;
    this.counts = new Uint32Array(buckets);
    this.last = 0; // number of the newest bucket: time divided by width
    this.total = 0; // of all buckets
  }

  /**
   * Something happened; a while ago too, and not at all where that was before what is shown.
   * @param {number} time
   * @param {number} [times]
   */
  add(time, times = 1) {
    this.moveTo(time);
    const bucket = Math.floor(time / this.widthMs);
    if (bucket <= this.last - this.counts.length) return;
    this.counts[bucket % this.counts.length] += times;
    this.total += times;
  }

  /**
   * Counts of all buckets, oldest first; the last one is that of now, not over yet.
   * @param {number} now
   * @returns {number[]}
   */
  read(now) {
    this.moveTo(now);
    const size = this.counts.length;
    return Array.from(this.counts, (_, index) => this.counts[(this.last + 1 + index) % size]);
  }

  /** Nothing that was counted holds any more. */
  clear() {
    this.counts.fill(0);
    this.total = 0;
  }

  /** @param {number} now */
  moveTo(now) {
    const bucket = Math.floor(now / this.widthMs);
    if (bucket <= this.last) return;
    const steps = Math.min(bucket - this.last, this.counts.length);
    for (let step = 1; step <= steps; step++) {
      const index = (bucket - steps + step) % this.counts.length;
      this.total -= this.counts[index];
      this.counts[index] = 0;
    }
    this.last = bucket;
  }
}

/**
 * Bars as the path of one SVG element, from left to right, each standing on the ground.
 * @param {number[]} values
 * @param {number} width Of the whole.
 * @param {number} height Of the tallest bar that there can be.
 * @param {number} top The value that is as tall.
 * @param {number} [gap] Between bars.
 * @returns {string}
 */
export function bars(values, width, height, top, gap = 1) {
  const step = width / values.length;
  const thick = Math.max(step - gap, 0.5);
  return values
    .map((value, index) => {
      if (value <= 0) return "";
      // What happened at all is seen.
      const tall = Math.max((Math.min(value, top) / top) * height, 1.5);
      return `M${(index * step).toFixed(2)} ${height}v${(-tall).toFixed(2)}h${thick.toFixed(2)}v${tall.toFixed(2)}z`;
    })
    .join("");
}

/**
 * The next round number, for the top of an axis: 1, 2, 5, 10, 20, 50, …
 * @param {number} value
 * @returns {number}
 */
export function roundUp(value) {
  if (value <= 1) return 1;
  const scale = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 5, 10].find((candidate) => candidate * scale >= value) ?? 10;
  return factor * scale;
}
