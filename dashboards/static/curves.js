// @ts-check
// Learning curves as a page keeps them: what the server sent, put into the figure's frame, its axes and its table.
import {format, general} from "./units.js";

/** @typedef {{number: number, flops: number[], loss: number[], planned: number, reason: string}} Curve */
/** @typedef {{revision: number, number: number[], standing: string[], rungs: number[], curves: Curve[]}} Answer */
/**
 * ``standing`` of the candidates that are shown; ``curves`` of them, and of some that were shown before.
 * @typedef {{revision: number, standing: Map<number, string>, curves: Map<number, Curve>, rungs: number[]}} Kept
 */
/** @typedef {Record<string, {name: string}>} Words standings by name */
/** @typedef {{mode: string, legendgroup: string}} Trace */

export const NOTHING = /** @type {Kept} */ ({revision: -1, standing: new Map(), curves: new Map(), rungs: []});
const WIDE = 46; // characters of a line that is shown where one points

/** What is known with an answer. @param {Kept} kept @param {Answer} answer @returns {Kept} */
export function merged(kept, answer) {
  const standing = new Map(answer.number.map((number, place) => [number, answer.standing[place]]));
  return {...filled(kept, answer), revision: answer.revision, standing};
}

/** With the curves of an answer about some of them. @param {Kept} kept @param {Answer} answer @returns {Kept} */
export function filled(kept, answer) {
  const curves = new Map(kept.curves);
  for (const own of answer.curves) curves.set(own.number, own);
  const rungs = [...new Set([...kept.rungs, ...answer.rungs])].sort((a, b) => a - b);
  return {...kept, curves, rungs};
}

/** Candidates to be shown whose curves are not known: they had not changed. @param {Kept} kept */
export function missing(kept) {
  return [...kept.standing.keys()].filter(number => !kept.curves.has(number));
}

/** Those that can be drawn, by number. @param {Kept} kept @returns {Curve[]} */
export function drawn(kept) {
  return [...kept.standing.keys()].flatMap(number => {
    const own = kept.curves.get(number);
    return own && own.flops.length ? [own] : [];
  }).sort((a, b) => a.number - b.number);
}

/**
 * Data for each trace of the frame.
 * @param {Trace[]} frame @param {Kept} kept @param {Words} words
 */
export function data(frame, kept, words) {
  const curves = drawn(kept);
  return frame.map(({mode, legendgroup}) => {
    const group = curves.filter(own => kept.standing.get(own.number) === legendgroup);
    return mode === "lines" ? lines(group) : ends(group, words[legendgroup].name);
  });
}

/** One line for all, a gap after each. @param {Curve[]} group */
function lines(group) {
  /** @type {{x: (number | null)[], y: (number | null)[], customdata: number[]}} */
  const found = {x: [], y: [], customdata: []};
  for (const own of group) {
    found.x.push(...own.flops, null);
    found.y.push(...own.loss, null);
    found.customdata.push(...own.flops.map(() => own.number), own.number);
  }
  return found;
}

/** @param {Curve[]} group @param {string} standing */
function ends(group, standing) {
  return {
    x: group.map(own => own.flops[own.flops.length - 1]),
    y: group.map(own => own.loss[own.loss.length - 1]),
    customdata: group.map(own => own.number),
    hoverinfo: "text",
    hovertext: group.map(own => [`<b>#${own.number}</b> ${escaped(standing)}`, ...wrapped(own.reason).map(escaped)].join("<br>")),
  };
}

/** Plotly reads some HTML. @param {string} text */
export function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

/** Lines of words. @param {string} text @returns {string[]} */
export function wrapped(text) {
  /** @type {string[]} */
  const found = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const last = found[found.length - 1];
    if (last !== undefined && last.length + 1 + word.length <= WIDE) found[found.length - 1] = `${last} ${word}`;
    else found.push(word);
  }
  return found;
}

/**
 * Logarithmic axes on which all points lie; as `dashboards.palette.log_axis` has them.
 * @param {Curve[]} curves one at least
 */
export function axes(curves) {
  const [left, right] = extent(curves.map(own => own.flops));
  const [low, high] = extent(curves.map(own => own.loss));
  const room = Math.max(0.05 * Math.log10(high / low), 0.01);
  return {
    xaxis: {range: [Math.log10(left / 1.1), Math.log10(right * 1.1)], ...ticks(left, right)},
    yaxis: {range: [Math.log10(low) - room, Math.log10(high) + room], ...ticks(low, high)},
  };
}

/** @param {number[][]} columns */
function extent(columns) {
  let [low, high] = [Infinity, -Infinity];
  for (const column of columns) for (const own of column) [low, high] = [Math.min(low, own), Math.max(high, own)];
  return [low, high];
}

/** Labels that stay apart. @param {number} low @param {number} high */
export function ticks(low, high) {
  if (high > 1000 * low) return {dtick: 1};
  if (high > 5 * low) return {dtick: "D2"};
  const step = round((high - low || low) / 5);
  return {tick0: step, dtick: `L${general(step, 6)}`};
}

/** The nearest of 1, 2 and 5 times a power of ten, by ratio. @param {number} value */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const away = (/** @type {number} */ near) => Math.abs(Math.log(near / value));
  return [1, 2, 5, 10].map(digit => digit * power).reduce((best, near) => (away(near) < away(best) ? near : best));
}

/**
 * Dotted lines where candidates are compared: shares of the largest plan that is not the final run's.
 * @param {Kept} kept
 */
export function rungs(kept) {
  const plans = drawn(kept).filter(own => kept.standing.get(own.number) !== "final").map(own => own.planned);
  const planned = Math.max(0, ...plans);
  if (!planned) return {shapes: [], annotations: []};
  const line = {color: "#808080", width: 1, dash: "dot"};
  return {
    shapes: kept.rungs.map(own => ({
      type: "line", x0: own * planned, x1: own * planned, yref: "paper", y0: 0, y1: 1, line, layer: "below",
    })),
    annotations: kept.rungs.map(own => ({
      x: Math.log10(own * planned), yref: "paper", y: 1, yanchor: "bottom", text: format("share", own), showarrow: false,
      font: {size: 10},
    })),
  };
}

/**
 * The table beside the figure, the latest first.
 * @param {Kept} kept @param {Words} words
 * @returns {{number: number, cells: string[]}[]} ``cells`` after the number
 */
export function rows(kept, words) {
  return drawn(kept).reverse().map(own => {
    const spent = own.flops[own.flops.length - 1];
    const loss = format("loss", own.loss[own.loss.length - 1]);
    const share = own.planned ? `${Math.round((100 * spent) / own.planned)}%` : "—";
    const standing = words[kept.standing.get(own.number) ?? ""]?.name ?? "—";
    return {number: own.number, cells: [standing, loss, format("flops", spent), share, own.reason]};
  });
}

/** How many of what. @param {Kept} kept @param {Words} words */
export function summary(kept, words) {
  const curves = drawn(kept);
  if (!curves.length) return "No candidate has learned anything yet: curves appear with the first points.";
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const own of curves) {
    const name = words[kept.standing.get(own.number) ?? ""]?.name ?? "";
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${name}`);
  return `${curves.length} curve${curves.length === 1 ? "" : "s"}: ${parts.join("; ")}.`;
}
