// @ts-check
// What the front's figure shows, computed from columns and from what a person chose. No page, no plotly in here.
import {frontMask, knee} from "./pareto.js";
import {format, withError} from "./units.js";

/** @typedef {import("./columns.js").Columns} Columns */
/** @typedef {{name: string, unit: string, axis: string, source: string, format: string, ticks: string}} Quantity */
/** @typedef {{name: string, short: string, colour: string, sign: string}} Standing */
/**
 * @typedef {{
 *   quantities: Record<string, Quantity>, origins: Record<string, string>, shapes: Record<string, string>,
 *   standings: Record<string, Standing>, outcomes: Record<string, string>, glyphs: Record<string, string>
 * }} Words
 */
/**
 * ``by``: what counts as the front: "" for the search's objectives, "axes" for those drawn, or a third besides these.
 * ``zoom``: x from, x to, y from, y to, as the axes count.
 * @typedef {{
 *   x: string, y: string, by: string, log: boolean, limits: Record<string, number>, zoom: number[] | null
 * }} Choice
 */
/** Rows of the columns; -1 for none. @typedef {{trained: number, within: number[], front: number[], knee: number, best: number}} Found */
/** @typedef {{rows: number[], x: number[], y: number[]}} Part */
/**
 * ``rows``: standings that have a row above; ``hidden``: how many have no place.
 * @typedef {{parts: Map<string, Part>, rows: string[], hidden: number, x: number[], y: number[]}} Scene
 */

export const LOSS = "val_bpb";
const HEADROOM = 0.25; // of what finished: so far above it a candidate that was stopped may still stand
const TRAINED = "dominated";

// --- what a person chose, as the address of the page has it ---

/**
 * @param {URLSearchParams} query @param {string[]} objectives of the search
 * @param {Record<string, unknown>} quantities that there are
 * @returns {Choice}
 */
export function readChoice(query, objectives, quantities) {
  const known = /** @param {string | null} name */ name => name !== null && Object.hasOwn(quantities, name) && name !== "test_bpb";
  const [first = "params"] = objectives.filter(name => name !== LOSS);
  const wanted = query.get("x");
  const x = wanted !== null && known(wanted) ? wanted : first;
  const asked = query.get("y");
  const y = asked !== null && known(asked) && asked !== x ? asked : x === LOSS ? first : LOSS;
  const by = query.get("front") ?? "";
  /** @type {Record<string, number>} */
  const limits = {};
  for (const [name, value] of query) {
    const own = name.slice(4);
    if (name.startsWith("max.") && known(own) && own !== LOSS && Number(value) > 0) limits[own] = Number(value);
  }
  const zoom = (query.get("zoom") ?? "").split(",").map(Number);
  return {
    x,
    y,
    by: by === "axes" || (known(by) && by !== x && by !== y) ? by : "",
    log: query.get("log") !== "0",
    limits,
    zoom: zoom.length === 4 && zoom.every(Number.isFinite) && zoom[0] < zoom[1] && zoom[2] < zoom[3] ? zoom : null,
  };
}

/**
 * The query with the choice in it; what else is in it stays.
 * @param {Choice} choice @param {URLSearchParams} query @param {string[]} objectives
 */
export function writeChoice(choice, query, objectives) {
  const kept = new URLSearchParams(query);
  for (const name of [...kept.keys()]) if (name.startsWith("max.")) kept.delete(name);
  const plain = readChoice(new URLSearchParams(), objectives, {[choice.x]: 1, [choice.y]: 1});
  const set = /** @param {string} name @param {string} value @param {boolean} usual */ (name, value, usual) => {
    if (usual) kept.delete(name);
    else kept.set(name, value);
  };
  set("x", choice.x, choice.x === plain.x);
  set("y", choice.y, choice.y === LOSS || (choice.x === LOSS && choice.y === plain.x));
  set("front", choice.by, choice.by === "");
  set("log", "0", choice.log);
  set("zoom", (choice.zoom ?? []).map(value => Number(value.toPrecision(6))).join(","), choice.zoom === null);
  for (const [name, value] of Object.entries(choice.limits)) kept.set(`max.${name}`, String(Number(value.toPrecision(6))));
  return kept;
}

/** What counts as the front. @param {Choice} choice @param {string[]} objectives of the search */
export function objectivesOf(choice, objectives) {
  if (choice.by === "") return objectives;
  return choice.by === "axes" ? [choice.x, choice.y] : [choice.x, choice.y, choice.by];
}

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

// --- axes ---

/** Whether an axis is logarithmic: of costs, if wanted; never of losses. @param {string} name @param {boolean} log */
export function isLog(name, log) {
  return log && name !== LOSS;
}

/**
 * From where to where an axis goes when nobody has chosen: with room at its ends, as plotly counts.
 * @param {number[]} range of values @param {boolean} log @param {number} room as a share of it
 */
export function wholeRange([low, high], log, room) {
  if (high < low) return [0, 1];
  const [from, to] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
  const more = room * (to - from) || (log ? 0.1 : 0.1 * Math.abs(to) || 0.1);
  return [from - more, to + more];
}

/**
 * Labels that stay apart, as `dashboards.palette.log_axis` has them.
 * @param {number} low @param {number} high values
 */
export function logTicks(low, high) {
  if (high > 1000 * low) return {dtick: 1};
  if (high > 5 * low) return {dtick: "D2"};
  const rough = (high - low || low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(digit => digit * power)
    .reduce((a, b) => (Math.abs(Math.log(b / rough)) < Math.abs(Math.log(a / rough)) ? b : a));
  return {tick0: step, dtick: `L${Number(step.toPrecision(6))}`};
}

// --- thinning ---

/**
 * The rows of each part that are drawn: of those that would cover each other and look alike, one. The grid becomes
 * coarser until they are few enough; what is out of sight is not drawn.
 * @param {Map<string, Part>} parts
 * @param {{x: number[], y: number[], logX: boolean, logY: boolean, width: number, height: number}} view ranges as the axes count
 * @param {(part: string, row: number) => string} look
 * @param {number} most
 * @returns {{parts: Map<string, Part>, drawn: number, candidates: number}} ``candidates``: in sight
 */
export function thin(parts, view, look, most) {
  const sights = [...parts].map(([name, part]) => seen(name, part, view, look));
  const candidates = sights.reduce((sum, own) => sum + own.places.length, 0);
  for (let cell = 4; ; cell *= 1.4) {
    const chosen = sights.map(own => ({name: own.name, places: one(own, cell)}));
    const drawn = chosen.reduce((sum, own) => sum + own.places.length, 0);
    if (drawn > most) continue;
    return {parts: new Map(chosen.map(own => [own.name, taken(/** @type {Part} */ (parts.get(own.name)), own.places)])), drawn, candidates};
  }
}

/** Places in a part of what is in sight, their pixels, and which sign each has. */
/** @typedef {{name: string, places: number[], x: number[], y: number[], looks: number[]}} Sight */

/**
 * @param {string} name @param {Part} part @param {Parameters<typeof thin>[1]} view @param {Parameters<typeof thin>[2]} look
 * @returns {Sight}
 */
function seen(name, part, view, look) {
  const found = /** @type {Sight} */ ({name, places: [], x: [], y: [], looks: []});
  const isRow = name.endsWith(" row");
  const signs = new Map();
  for (let place = 0; place < part.rows.length; place++) {
    const x = share(part.x[place], view.x, view.logX);
    const y = isRow ? 0 : share(part.y[place], view.y, view.logY);
    if (x < -0.02 || x > 1.02 || y < -0.02 || y > 1.02) continue;
    const sign = look(name, part.rows[place]);
    if (!signs.has(sign)) signs.set(sign, signs.size);
    found.places.push(place);
    found.x.push(x * view.width);
    found.y.push(y * view.height);
    found.looks.push(signs.get(sign));
  }
  return found;
}

/** The first of each cell and sign. @param {Sight} sight @param {number} cell in pixels */
function one(sight, cell) {
  const taken = new Set();
  return sight.places.filter((_, at) => {
    const key = ((Math.floor(sight.y[at] / cell) + 100) * 10000 + Math.floor(sight.x[at] / cell) + 100) * 16 + sight.looks[at];
    if (taken.has(key)) return false;
    taken.add(key);
    return true;
  });
}

/** @param {Part} part @param {number[]} places @returns {Part} */
function taken(part, places) {
  return {rows: places.map(at => part.rows[at]), x: places.map(at => part.x[at]), y: places.map(at => part.y[at])};
}

/** @param {number} value @param {number[]} range @param {boolean} log */
function share(value, [from, to], log) {
  return ((log ? Math.log10(value) : value) - from) / (to - from);
}

// --- words ---

/**
 * All that the columns know of a candidate, in lines.
 * @param {Columns} columns @param {number} row @param {string} stand @param {Words} words
 */
export function attributes(columns, row, stand, words) {
  const lines = [
    `#${columns.number[row]} ${words.standings[stand].name}${columns.audited[row] ? ", stop audited" : ""}`,
    words.origins[columns.origin[row]],
  ];
  if (columns.val_bpb[row] !== null) {
    lines.push(`validation ${withError(columns.val_bpb[row], columns.val_error[row])} bits per byte`);
  }
  if (columns.test_bpb[row] !== null) lines.push(`test ${format("loss", columns.test_bpb[row])} bits per byte`);
  if (columns.last_bpb[row] !== null) lines.push(`${format("loss", columns.last_bpb[row])} bits per byte before the stop`);
  for (const [name, own] of Object.entries(words.quantities)) {
    const value = name in columns.costs ? columns.costs[name][row] : null;
    if (value !== null) lines.push(`${own.name}: ${format(own.format, value)} (${own.source})`);
  }
  if (columns.flops[row]) lines.push(`trained and evaluated with ${format("flops", columns.flops[row])}`);
  return lines;
}

/** ``a, b and c``. @param {string[]} parts */
export function listed(parts) {
  return parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}`;
}

/**
 * The figure's title: how many are on the front of what.
 * @param {Found} found @param {string[]} objectives @param {Record<string, number>} limits @param {Words} words
 */
export function title(found, objectives, limits, words) {
  if (!found.trained) return "No candidate has been trained to the end yet";
  const names = objectives.map(name => (name === LOSS ? "loss" : words.quantities[name].name));
  const limited = Object.keys(limits).length > 0;
  if (limited && !found.within.length) return "No model is within the limits";
  const of = limited ? `${found.within.length} within the limits` : `${found.trained} candidates trained to the end`;
  const verb = found.front.length === 1 ? "is" : "are";
  return `${found.front.length} of ${of} ${verb} on the front of ${listed(names)}`;
}

/**
 * The best model within the limits, around its link.
 * @param {Columns} columns @param {Found} found @param {Record<string, number>} limits @param {Words} words
 * @returns {{before: string, number: number | null, after: string}}
 */
export function bestSentence(columns, found, limits, words) {
  const names = Object.keys(limits);
  if (!found.trained) return {before: "", number: null, after: ""};
  if (found.best < 0) {
    const bounds = names.map(name => `${words.quantities[name].name} of at most ${format(words.quantities[name].format, limits[name])}`);
    return {
      before: `None of the ${found.trained} models trained to the end has ${listed(bounds)}. Loosen a limit.`,
      number: null,
      after: "",
    };
  }
  const row = found.best;
  const costs = Object.entries(words.quantities)
    .filter(([name]) => name in columns.costs && columns.costs[name][row] !== null)
    .map(([name, own]) => `${own.name} ${format(own.format, columns.costs[name][row])}`);
  const where = names.length
    ? `Within the limits (${found.within.length} of ${found.trained} models), the best is `
    : `The best of ${found.trained === 1 ? "1 model" : `${found.trained} models`} trained to the end is `;
  const loss = `: ${withError(columns.val_bpb[row], columns.val_error[row])} bits per byte`;
  return {before: where, number: columns.number[row], after: `${loss}${costs.length ? `; ${costs.join(", ")}` : ""}.`};
}

/**
 * Why a reader may want a member of the front.
 * @param {Columns} columns @param {Found} found @param {number} row
 */
export function remark(columns, found, row) {
  const notes = [];
  if (found.best === row) notes.push("lowest loss");
  if (found.front.length > 1 && found.front[0] === row) notes.push("cheapest");
  if (found.knee === row) notes.push("knee");
  return notes.join(", ");
}
