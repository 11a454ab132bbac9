// @ts-check
// What the front's figure shows, computed from columns and from what a person chose. No page, no plotly in here.
import {LOSS} from "./choice.js";
import {frontMask, knee} from "./pareto.js";

/** @typedef {import("./columns.js").Columns} Columns */
/** @typedef {import("./choice.js").Choice} Choice */
/** @typedef {{name: string, unit: string, axis: string, source: string, format: string, ticks: string}} Quantity */
/** @typedef {{name: string, short: string, colour: string, sign: string}} Standing */
/**
 * @typedef {{
 *   quantities: Record<string, Quantity>, origins: Record<string, string>, shapes: Record<string, string>,
 *   standings: Record<string, Standing>, outcomes: Record<string, string>, glyphs: Record<string, string>
 * }} Words
 */
/** Rows of the columns; -1 for none. @typedef {{trained: number, within: number[], front: number[], knee: number, best: number}} Found */
/** @typedef {{rows: number[], x: number[], y: number[]}} Part */
/**
 * ``rows``: standings that have a row above; ``hidden``: how many have no place.
 * @typedef {{parts: Map<string, Part>, rows: string[], hidden: number, x: number[], y: number[]}} Scene
 */

const HEADROOM = 0.25; // of what finished: so far above it a candidate that was stopped may still stand
const TRAINED = "dominated";
/** Before there is any. @type {Found} */
export const NOTHING = {trained: 0, within: [], front: [], knee: -1, best: -1};

// --- the front ---

/**
 * The front among those that were trained to the end and are within all limits, the cheapest first.
 * @param {Columns} columns @param {string[]} objectives @param {Record<string, number>} limits
 * @param {Record<string, string>} outcomes
 * @returns {Found}
 */
export function find(columns, objectives, limits, outcomes) {
  const bounds = Object.entries(limits).map(([name, most]) => ({values: columns.values(name), most}));
  const axes = objectives.map(name => columns.values(name));
  const within = /** @type {number[]} */ ([]);
  const rows = /** @type {number[]} */ ([]);
  const points = /** @type {number[][]} */ ([]);
  let trained = 0;
  let best = -1;
  for (let row = 0; row < columns.length; row++) {
    if (standing(columns, row, outcomes) !== TRAINED) continue;
    trained++;
    if (!bounds.every(({values, most}) => { const value = values[row]; return value !== null && value <= most; })) continue;
    within.push(row);
    const loss = columns.val_bpb[row];
    if (loss !== null && (best < 0 || loss < /** @type {number} */ (columns.val_bpb[best]))) best = row;
    const point = axes.map(values => values[row]);
    if (point.every(value => value !== null)) {
      rows.push(row);
      points.push(/** @type {number[]} */ (point)); // no gaps in it
    }
  }
  const mask = frontMask(points);
  const members = rows.map((_, place) => place).filter(place => mask[place]);
  const first = Math.max(0, objectives.findIndex(name => name !== LOSS));
  members.sort((a, b) => points[a][first] - points[b][first] || columns.number[rows[a]] - columns.number[rows[b]]);
  const turn = members.length < 3 ? -1 : knee(members.map(place => points[place]));
  return {trained, within, front: members.map(place => rows[place]), knee: turn < 0 ? -1 : rows[members[turn]], best};
}

/** @param {Columns} columns @param {number} row @param {Record<string, string>} outcomes */
export function standing(columns, row, outcomes) {
  return columns.origin[row] === "final" ? "final" : outcomes[columns.state[row]];
}

/**
 * The step line under which nothing was found, of these two alone.
 * @param {Columns} columns @param {number[]} front @param {Choice} choice
 */
export function stepLine(columns, front, choice) {
  const [xs, ys] = [columns.values(choice.x), columns.values(choice.y)];
  const points = front.map(row => [xs[row], ys[row]]).filter(own => own.every(drawable));
  const mask = frontMask(/** @type {number[][]} */ (points));
  const kept = /** @type {number[][]} */ (points.filter((_, place) => mask[place]));
  kept.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return {x: kept.map(own => own[0]), y: kept.map(own => own[1])};
}

/** @param {number | null} value */
function drawable(value) {
  return value !== null && value > 0 && Number.isFinite(value);
}

// --- places ---

/**
 * Where each candidate stands: in its place, or in a row above when it has no loss.
 * @param {Columns} columns @param {Choice} choice @param {Words} words
 * @returns {Scene}
 */
export function place(columns, choice, words) {
  const stands = columns.number.map((_, row) => standing(columns, row, words.outcomes));
  const losses = lossesOf(columns, stands);
  const xs = choice.x === LOSS ? losses : columns.values(choice.x);
  const ys = choice.y === LOSS ? losses : columns.values(choice.y);
  /** @type {Map<string, Part>} */
  const parts = new Map();
  const scene = {parts, rows: /** @type {string[]} */ ([]), hidden: 0, x: [Infinity, -Infinity], y: [Infinity, -Infinity]};
  for (let row = 0; row < columns.length; row++) {
    const x = xs[row];
    const y = ys[row];
    if (!drawable(x) || (!drawable(y) && choice.y !== LOSS)) {
      scene.hidden++;
      continue;
    }
    const inPlace = drawable(y);
    put(parts, inPlace ? stands[row] : `${stands[row]} row`, row, Number(x), Number(y));
    if (inPlace && columns.audited[row]) put(parts, "audited", row, Number(x), Number(y));
    widen(scene.x, Number(x));
    if (inPlace) widen(scene.y, Number(y));
  }
  scene.rows = Object.keys(words.standings).filter(name => parts.has(`${name} row`));
  scene.rows.forEach((name, height) => parts.get(`${name} row`)?.y.fill(height));
  return scene;
}

/** @param {Map<string, Part>} parts @param {string} name @param {number} row @param {number} x @param {number} y */
function put(parts, name, row, x, y) {
  const part = parts.get(name) ?? {rows: [], x: [], y: []};
  parts.set(name, part);
  part.rows.push(row);
  part.x.push(x);
  part.y.push(y);
}

/** @param {number[]} range @param {number} value */
function widen(range, value) {
  if (value < range[0]) range[0] = value;
  if (value > range[1]) range[1] = value;
}

/**
 * The loss at which each is drawn: test for the final run, validation for those trained to the end, the last one for
 * those that were stopped, unless that would squeeze the front.
 * @param {Columns} columns @param {string[]} stands
 */
function lossesOf(columns, stands) {
  /** @type {(number | null)[]} */
  const losses = stands.map((name, row) =>
    name === "final" ? columns.test_bpb[row] : name === TRAINED ? columns.val_bpb[row] : null);
  const range = [Infinity, -Infinity];
  for (const loss of losses) if (loss !== null) widen(range, loss);
  const most = range[1] < range[0] ? Infinity : range[1] + HEADROOM * (range[1] - range[0]);
  stands.forEach((name, row) => {
    const last = columns.last_bpb[row];
    if (name === "stopped" && last !== null && last <= most) losses[row] = last;
  });
  return losses;
}
