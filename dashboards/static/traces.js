// @ts-check
// Data for the traces of the front's figure. They come without data from the frame, and are filled in place. No page in here.
import {LOSS} from "./choice.js";
import {stepLine} from "./scene.js";

/** @typedef {import("./scene.js").Part} Part */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Trace} Trace */

const MOVING = ["dominated", "line", "front", "pick", "knee"];

/** Whether a trace changes with the limits. @param {Trace} trace */
export function moves(trace) {
  return MOVING.includes(trace.meta);
}

/** What stays while a slider moves. @param {State} state @param {Trace[]} traces @param {Map<string, Part>} parts that are drawn */
export function fillPlaces(state, traces, parts) {
  for (const trace of traces) {
    if (moves(trace) && trace.meta !== "dominated") continue;
    const part = parts.get(trace.meta) ?? {rows: [], x: [], y: []};
    fill(state, trace, part);
    trace.visible = !state.hidden.has(trace.legendgroup);
    if (trace.meta === "final") errors(state, trace, part.rows);
  }
}

/** The front's line and members, the knee, the model that is named. @param {State} state @param {Trace[]} moving */
export function fillMoving(state, moving) {
  const {columns, choice, found} = state;
  const [xs, ys] = [columns.values(choice.x), columns.values(choice.y)];
  const at = /** @param {number[]} rows */ rows => rows.filter(row => row >= 0 && xs[row] !== null && ys[row] !== null);
  for (const trace of moving) {
    trace.visible = !state.hidden.has(trace.legendgroup);
    if (trace.meta === "dominated") {
      fade(state, trace);
      continue;
    }
    if (trace.meta === "line") {
      fill(state, trace, {rows: [], ...stepLine(columns, found.front, choice)});
      continue;
    }
    const rows = at(trace.meta === "front" ? found.front : trace.meta === "knee" ? [found.knee] : state.limited ? [found.best] : []);
    fill(state, trace, {rows, x: rows.map(row => xs[row]), y: rows.map(row => ys[row])});
    if (trace.meta === "front") errors(state, trace, rows);
    if (trace.meta === "knee") trace.text = rows.map(() => "knee");
  }
}

/**
 * One gap stands for nothing: a trace that is empty would not be there to move.
 * @param {State} state @param {Trace} trace @param {{rows: number[], x: (number | null)[], y: (number | null)[]}} part
 */
function fill({columns, words}, trace, {rows, x, y}) {
  Object.assign(trace, {x: x.length ? x : [null], y: y.length ? y : [null], customdata: rows.map(row => columns.number[row])});
  if (trace.meta === "dominated" || trace.meta === "front") {
    trace.marker.symbol = rows.map(row => words.shapes[columns.origin[row]]);
  }
}

/** One standard error of the loss that is drawn, along its axis. @param {State} state @param {Trace} trace @param {number[]} rows */
function errors({columns, choice}, trace, rows) {
  const style = trace.error_y ?? trace.error_x;
  const own = trace.meta === "final" ? columns.test_error : columns.val_error;
  const array = rows.map(row => own[row]);
  const known = array.some(value => value !== null);
  trace.error_y = {...style, array, visible: known && choice.y === LOSS};
  trace.error_x = {...style, array, visible: known && choice.x === LOSS};
}

/** What is beyond a limit fades. @param {State} state @param {Trace} trace */
function fade({columns, choice}, trace) {
  const bounds = Object.entries(choice.limits).map(([name, most]) => ({values: columns.values(name), most}));
  trace.marker.opacity = !bounds.length ? 1 : trace.customdata.map((/** @type {number} */ number) => {
    const row = columns.place(number);
    return bounds.every(({values, most}) => values[row] !== null && Number(values[row]) <= most) ? 1 : 0.15;
  });
}
