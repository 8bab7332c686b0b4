/**
 * Playing what happened, at 1× to 100×: which step is due after so much time. Pure: no timer.
 *
 * Gaps are those between the times at which the deltas happened, but at most `MOST_GAP_MS` long, so that a night in
 * which nothing happened is not watched; a gap that is negative by a clock's error is none.
 */

export const SPEEDS = [1, 2, 5, 10, 20, 50, 100];
export const MOST_GAP_MS = 3000;
/** Steps of no time at all still take this long at 1×, so that they are seen. */
export const LEAST_GAP_MS = 120;

/** The player. */
export class Player {
  constructor() {
    this.speed = 1;
    this.playing = false;
    this.credit = 0; // time that has passed and is not spent on a step yet, at 1×
  }

  /** Begin. */
  play() {
    this.playing = true;
    this.credit = 0;
  }

  /** Stop. */
  stop() {
    this.playing = false;
  }

  /**
   * So much time has passed: how far to go on.
   * @param {number} elapsedMs
   * @param {number} index Where it is.
   * @param {number} count How many entries there are.
   * @param {(index: number) => string} timeOf When an entry happened.
   * @returns {number} The index to be at now.
   */
  advance(elapsedMs, index, count, timeOf) {
    if (!this.playing) return index;
    this.credit += elapsedMs * this.speed;
    let here = index;
    while (here + 1 < count) {
      const gap = gapBetween(timeOf(here), timeOf(here + 1));
      if (this.credit < gap) return here;
      this.credit -= gap;
      here++;
    }
    // At the end there is nothing to save up for.
    this.credit = 0;
    return here;
  }
}

/**
 * How long the step from one to the next takes at 1×.
 * @param {string} before
 * @param {string} after
 * @returns {number} Milliseconds.
 */
export function gapBetween(before, after) {
  const gap = Date.parse(after) - Date.parse(before);
  return Math.min(MOST_GAP_MS, Math.max(LEAST_GAP_MS, Number.isNaN(gap) ? 0 : gap));
}
