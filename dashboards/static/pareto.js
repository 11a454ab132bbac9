// @ts-check
// Fronts and knees: what nas/pareto.py computes, quick enough to be done again while a slider moves. Everything is
// minimised; points are arrays of two or three finite numbers (or one).

/** @typedef {number[]} Point */

/**
 * True for the points that no other dominates; equal points are all kept. O(n log n) for two objectives; for three, as
 * much and the moving of what a staircase holds.
 * @param {Point[]} points
 * @returns {boolean[]}
 */
export function frontMask(points) {
  const mask = new Array(points.length).fill(false);
  if (!points.length) return mask;
  const order = points.map((_, place) => place);
  order.sort((a, b) => lexical(points[a], points[b]));
  const stairs = new Staircase();
  for (let place = 0; place < order.length; place++) {
    const own = points[order[place]];
    const twin = place > 0 && lexical(points[order[place - 1]], own) === 0;
    // in this order nothing is dominated by what comes after it
    mask[order[place]] = twin ? mask[order[place - 1]] : stairs.add(own[1] ?? 0, own[2] ?? 0);
  }
  return mask;
}

/**
 * Index of the front's knee: the point farthest below the plane through the front's extremes, objectives scaled to
 * [0, 1] over the front; the first objective breaks ties. -1 for no points.
 * @param {Point[]} points
 */
export function knee(points) {
  const mask = frontMask(points);
  const front = points.map((_, place) => place).filter(place => mask[place]);
  if (!front.length) return -1;
  const scales = points[front[0]].map((_, axis) => {
    let low = Infinity;
    let high = -Infinity;
    for (const place of front) {
      low = Math.min(low, points[place][axis]);
      high = Math.max(high, points[place][axis]);
    }
    return {low, span: high > low ? high - low : 1};
  });
  let best = -1;
  let least = Infinity;
  for (const place of front) {
    const sum = scales.reduce((total, {low, span}, axis) => total + (points[place][axis] - low) / span, 0);
    const rounded = even(sum * 1e12) / 1e12;
    if (rounded < least || (rounded === least && points[place][0] < points[best][0])) {
      best = place;
      least = rounded;
    }
  }
  return best;
}

/** @param {number} value the nearest whole number, of two the even one */
function even(value) {
  const down = Math.floor(value);
  const rest = value - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/** @param {Point} a @param {Point} b */
function lexical(a, b) {
  for (let axis = 0; axis < a.length; axis++) {
    if (a[axis] !== b[axis]) return a[axis] - b[axis];
  }
  return 0;
}

/** Pairs that dominate each other nowhere: ascending in the first, descending in the second. */
class Staircase {
  constructor() {
    /** @type {number[]} */ this.first = [];
    /** @type {number[]} */ this.second = [];
  }

  /**
   * Takes a pair in, unless one that is there is nowhere worse.
   * @param {number} a @param {number} b
   */
  add(a, b) {
    let low = 0;
    let high = this.first.length;
    while (low < high) { // the first beyond a
      const middle = (low + high) >> 1;
      if (this.first[middle] <= a) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && this.second[low - 1] <= b) return false;
    let end = low;
    while (end < this.second.length && this.second[end] >= b) end++;
    const begin = low > 0 && this.first[low - 1] === a ? low - 1 : low; // as good in the first, and worse in the second
    this.first.splice(begin, end - begin, a);
    this.second.splice(begin, end - begin, b);
    return true;
  }
}
