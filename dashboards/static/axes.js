// @ts-check
// The axes of the front's figure, and the veils over what is beyond a limit, as plotly's layout has them. No page in here.
import {LOSS} from "./choice.js";

/** @typedef {import("./choice.js").Choice} Choice */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./state.js").State} State */
/** @typedef {{small: boolean, coarse: boolean}} Device a narrow one; one whose pointer is a finger */

const ROW = 0.055; // of the figure's height, for those without a loss

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

/** Ranges of both axes, as plotly counts: those of the zoom, or those of everything. @param {Choice} choice @param {Scene} scene */
export function ranges({x, y, log, zoom}, scene) {
  if (zoom) return {x: [zoom[0], zoom[1]], y: [zoom[2], zoom[3]]};
  return {x: wholeRange(scene.x, isLog(x, log), 0.04), y: wholeRange(scene.y, isLog(y, log), 0.08)};
}

/** The frame's layout for what is seen now. @param {State} state @param {Device} device */
export function layout(state, device) {
  const {choice, scene} = state;
  const frame = state.given.frame.layout;
  const {x, y} = ranges(choice, scene);
  const {rows} = scene;
  const placed = rows.length < scene.parts.size;
  const top = 1 - ROW * rows.length * (device.small ? 1.2 : 1);
  return {
    ...frame,
    dragmode: device.coarse ? false : "zoom",
    uirevision: "kept",
    xaxis: {...frame.xaxis, ...axis(state, choice.x, x, device)},
    yaxis: {
      ...frame.yaxis,
      ...axis(state, choice.y, y, device),
      domain: placed ? [0, rows.length ? top - 0.02 : 1] : [0, 0.01],
      visible: placed,
    },
    yaxis2: {
      ...frame.yaxis2,
      domain: [placed ? Math.min(top, 0.99) : 0.02, 1],
      range: [-0.5, Math.max(rows.length, 1) - 0.5],
      tickvals: rows.map((_, height) => height),
      ticktext: rows.map(name => state.words.standings[name].short),
      visible: rows.length > 0,
    },
    shapes: veils(choice, scene),
  };
}

/** @param {State} state @param {string} name @param {number[]} range as plotly counts @param {Device} device */
function axis(state, name, range, {small}) {
  const log = isLog(name, state.choice.log);
  const quantity = state.quantities[name];
  const [low, high] = log ? range.map(value => 10 ** value) : range;
  return {
    type: log ? "log" : "linear",
    range: [...range],
    autorange: false,
    title: {
      text: name === LOSS ? `loss (${quantity.unit})` : quantity.axis,
      standoff: 10,
      ...(small ? {font: {size: 11}} : {}),
    },
    tickformat: quantity.ticks,
    ...(log ? logTicks(low, high) : {dtick: undefined, tick0: undefined}),
    ...(small ? {tickfont: {size: 10}} : {}),
  };
}

/** What is beyond a limit on an axis lies under a veil. @param {Choice} choice @param {Scene} scene */
export function veils(choice, scene) {
  const shapes = [];
  for (const letter of /** @type {const} */ (["x", "y"])) {
    const most = choice.limits[choice[letter]];
    if (most === undefined) continue;
    const far = Math.max(most, scene[letter][1]) * 1e3;
    const other = letter === "x" ? "y" : "x";
    const across = {[`${other}ref`]: "paper", [`${other}0`]: 0, [`${other}1`]: 1};
    shapes.push({
      type: "rect", layer: "above", fillcolor: "rgba(128,128,128,0.22)",
      line: {width: 0},
      [`${letter}ref`]: letter, [`${letter}0`]: most, [`${letter}1`]: far, ...across,
    }, {
      type: "line", layer: "above", line: {width: 1.5, dash: "dash", color: "#808080"},
      [`${letter}ref`]: letter, [`${letter}0`]: most, [`${letter}1`]: most, ...across,
    });
  }
  return shapes;
}
