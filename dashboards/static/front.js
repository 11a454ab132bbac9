// @ts-check
// The front on a search's page: the figure, its controls, the limits and the members' table. What is shown is computed
// by scene.js; what is asked of plotly while a slider moves touches small traces alone.
import {keep} from "./columns.js";
import {Limits} from "./limits.js";
import {follow} from "./live.js";
import {
  LOSS, attributes, bestSentence, find, isLog, logTicks, objectivesOf, place, readChoice, remark, standing, stepLine, thin,
  title, wholeRange, writeChoice,
} from "./scene.js";
import {say} from "./api.js";
import {format, withError} from "./units.js";

/** @typedef {import("./columns.js").Columns} Columns */
/** @typedef {import("./scene.js").Words} Words */
/** @typedef {import("./scene.js").Found} Found */
/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {Record<string, any>} Trace */
/** @typedef {HTMLElement & {_fullLayout?: any, on?: (name: string, act: (event: any) => void) => void}} Plot */

const MOST = 1500; // marks in the figure
const ROW = 0.055; // of the figure's height, for those without a loss
const SHOWN = 50; // rows of the table before somebody wants all
const COMPARED = 8;
const MOVING = ["dominated", "line", "front", "pick", "knee"];
const CHANGING = ["x", "y", "customdata", "text", "marker", "error_x", "error_y"];
const FILTERS = ["state", "origin", "order_by", "descending", "page_token"];

/** @template {HTMLElement} T @param {string} id @returns {T} */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`#${id} is missing`);
  return /** @type {T} */ (found);
}

/** @param {string} id */
function island(id) {
  return JSON.parse(element(id).textContent ?? "null");
}

/** @type {Words} */
const words = island("words");
/** @type {{search: string, objectives: string[], event: number, revision: number, frame: {data: Trace[], layout: any}}} */
const given = island("front-data");
const quantities = Object.fromEntries(Object.entries(words.quantities).filter(([name]) => name !== "test_bpb"));
const costs = Object.fromEntries(Object.entries(quantities).filter(([name]) => name !== LOSS));
const choice = readChoice(new URLSearchParams(location.search), given.objectives, quantities);
const traces = given.frame.data;
for (const trace of traces) if (trace.hovertemplate) Object.assign(trace, {hovertemplate: "", hoverinfo: "none"}); // see point()
const moving = traces.map((trace, place) => ({trace, place})).filter(({trace}) => MOVING.includes(trace.meta));
const plot = /** @type {Plot} */ (element("front-plot"));
const tip = element("front-tip");
const kept = keep(given.search);
const limits = new Limits(element("limits"), element("more-limits"), costs, given.objectives, choice.limits, slid);
const narrow = matchMedia("(max-width: 40rem)");
const coarse = matchMedia("(pointer: coarse)").matches;
const compared = new Set(new URLSearchParams(location.search).getAll("c").map(Number).filter(Number.isInteger));
const hidden = new Set(); // groups of the key that are not wanted
let order = {by: "", down: false};
let all = false;
let drawn = false;
let held = false; // a finger or a button is down on the figure: it is not redrawn under it
let waiting = false;
/** @type {Scene | null} */
let scene = null;
/** @type {Found} */
let found = {trained: 0, within: [], front: [], knee: -1, best: -1};
/** @type {Set<number>} */
let members = new Set();

function own() {
  return objectivesOf(choice, given.objectives);
}

function look() {
  found = find(kept.columns, own(), choice.limits, words.outcomes);
  members = new Set(found.front);
}

// --- the figure ---

/** Ranges of both axes, as plotly counts: those of the zoom, or those of everything. */
function ranges() {
  const [x, y] = [wholeX(), wholeY()];
  const {zoom} = choice;
  return zoom ? {x: [zoom[0], zoom[1]], y: [zoom[2], zoom[3]]} : {x, y};
}

function wholeX() {
  return wholeRange(/** @type {Scene} */ (scene).x, isLog(choice.x, choice.log), 0.04);
}

function wholeY() {
  return wholeRange(/** @type {Scene} */ (scene).y, isLog(choice.y, choice.log), 0.08);
}

/** @param {string} name @param {number[]} range as plotly counts */
function axis(name, range) {
  const log = isLog(name, choice.log);
  const quantity = quantities[name];
  const [low, high] = log ? range.map(value => 10 ** value) : range;
  const small = narrow.matches ? {tickfont: {size: 10}} : {};
  return {
    type: log ? "log" : "linear",
    range: [...range],
    autorange: false,
    title: {
      text: name === LOSS ? `loss (${quantity.unit})` : quantity.axis,
      standoff: 10,
      ...(narrow.matches ? {font: {size: 11}} : {}),
    },
    tickformat: quantity.ticks,
    ...(log ? logTicks(low, high) : {dtick: undefined, tick0: undefined}),
    ...small,
  };
}

function layout() {
  const {frame} = given;
  const {x, y} = ranges();
  const rows = /** @type {Scene} */ (scene).rows;
  const placed = rows.length < /** @type {Scene} */ (scene).parts.size;
  const top = 1 - ROW * rows.length * (narrow.matches ? 1.2 : 1);
  return {
    ...frame.layout,
    dragmode: coarse ? false : "zoom",
    uirevision: "kept",
    xaxis: {...frame.layout.xaxis, ...axis(choice.x, x)},
    yaxis: {
      ...frame.layout.yaxis,
      ...axis(choice.y, y),
      domain: placed ? [0, rows.length ? top - 0.02 : 1] : [0, 0.01],
      visible: placed,
    },
    yaxis2: {
      ...frame.layout.yaxis2,
      domain: [placed ? Math.min(top, 0.99) : 0.02, 1],
      range: [-0.5, Math.max(rows.length, 1) - 0.5],
      tickvals: rows.map((_, height) => height),
      ticktext: rows.map(name => words.standings[name].short),
      visible: rows.length > 0,
    },
    shapes: veils(),
  };
}

/** What is beyond a limit on an axis lies under a veil. */
function veils() {
  const shapes = [];
  for (const [letter, name] of [["x", choice.x], ["y", choice.y]]) {
    const most = choice.limits[name];
    if (most === undefined) continue;
    const far = Math.max(most, (scene ?? {x: [0, 0], y: [0, 0]})[/** @type {"x" | "y"} */ (letter)][1]) * 1e3;
    const [other, domain] = letter === "x" ? ["y", "paper"] : ["x", "paper"];
    shapes.push({
      type: "rect", layer: "above", fillcolor: "rgba(128,128,128,0.22)",
      line: {width: 0},
      [`${letter}ref`]: letter, [`${letter}0`]: most, [`${letter}1`]: far,
      [`${other}ref`]: domain, [`${other}0`]: 0, [`${other}1`]: 1,
    }, {
      type: "line", layer: "above", line: {width: 1.5, dash: "dash", color: "#808080"},
      [`${letter}ref`]: letter, [`${letter}0`]: most, [`${letter}1`]: most,
      [`${other}ref`]: domain, [`${other}0`]: 0, [`${other}1`]: 1,
    });
  }
  return shapes;
}

/** Everything, from the columns on. */
function draw() {
  if (held) {
    waiting = true;
    return;
  }
  const {columns} = kept;
  performance.mark("nas-draw");
  look();
  scene = place(columns, choice, words);
  const empty = element("front-empty");
  const anything = scene.parts.size > 0;
  empty.hidden = anything;
  plot.hidden = !anything;
  if (!anything) empty.textContent = nothing();
  else paint();
  tell();
  limits.fit(columns);
  performance.measure("nas-draw", "nas-draw");
  element("reset").toggleAttribute("disabled", !Object.keys(choice.limits).length);
}

function nothing() {
  if (!kept.columns.length) return "No candidate has been proposed yet. The figure grows with them, by itself.";
  return `No candidate has both ${quantities[choice.x].name} and ${quantities[choice.y].name} yet.`;
}

function paint() {
  const {columns} = kept;
  const {parts: all, rows: above} = /** @type {Scene} */ (scene);
  plot.classList.toggle("low", all.size === above.length); // rows alone
  const {x, y} = ranges();
  const box = plot.getBoundingClientRect();
  const view = {
    x, y, logX: isLog(choice.x, choice.log), logY: isLog(choice.y, choice.log),
    width: Math.max(200, box.width - 80), height: Math.max(150, (box.height || 500) - 70),
  };
  const {parts, drawn: marks, candidates} = thin(
    /** @type {Scene} */ (scene).parts, view, (part, row) => (part === "dominated" ? columns.origin[row] : ""), MOST,
  );
  for (const trace of traces) {
    if (MOVING.includes(trace.meta) && trace.meta !== "dominated") continue;
    const part = parts.get(trace.meta) ?? {rows: [], x: [], y: []};
    fill(trace, part.rows, part.x, part.y);
    trace.visible = !hidden.has(trace.legendgroup);
    if (trace.meta === "final") errors(trace, part.rows);
  }
  fillMoving();
  const config = {responsive: true, displayModeBar: false, doubleClick: false};
  if (drawn) Plotly.react(plot, traces, layout(), config);
  else first(config);
  keys();
  caption(marks, candidates);
  element("whole").hidden = choice.zoom === null;
}

/** @param {object} config */
function first(config) {
  drawn = true;
  Plotly.newPlot(plot, traces, layout(), config);
  plot.on?.("plotly_relayout", zoomed);
  plot.on?.("plotly_doubleclick", whole);
  plot.on?.("plotly_hover", event => point(event.points[0]?.customdata, event.event));
  plot.on?.("plotly_unhover", () => { tip.hidden = true; });
  plot.on?.("plotly_click", event => {
    const number = event.points[0]?.customdata;
    if (number === undefined) return;
    const {ctrlKey, metaKey} = event.event ?? {};
    if (ctrlKey || metaKey) open(candidate(number), "_blank", "noopener");
    else location.assign(candidate(number));
  });
  plot.addEventListener("pointerdown", () => { held = true; });
  addEventListener("pointerup", () => setTimeout(() => {
    held = false;
    if (waiting) draw();
    waiting = false;
  }, 50));
}

/** What is known of the candidate that is pointed at; made when it is wanted. @param {number | undefined} number @param {MouseEvent} event */
function point(number, event) {
  const row = number === undefined ? -1 : kept.columns.place(number);
  if (row < 0) return;
  const [name, ...lines] = attributes(kept.columns, row, stand(row), words);
  tip.replaceChildren(text("strong", name), ...lines.map(line => text("span", line)));
  tip.hidden = false;
  const box = plot.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const left = x + 16 + tip.offsetWidth > box.width ? x - 16 - tip.offsetWidth : x + 16;
  tip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, Math.min(y - 20, box.height - tip.offsetHeight))}px)`;
}

/**
 * One gap stands for nothing: a trace that is empty would not be there to move.
 * @param {Trace} trace @param {number[]} rows @param {(number | null)[]} x @param {(number | null)[]} y
 */
function fill(trace, rows, x, y) {
  const {columns} = kept;
  Object.assign(trace, {x: x.length ? x : [null], y: y.length ? y : [null], customdata: rows.map(row => columns.number[row])});
  if (trace.meta === "dominated" || trace.meta === "front") {
    trace.marker.symbol = rows.map(row => words.shapes[columns.origin[row]]);
  }
}

/** @param {number} row */
function stand(row) {
  return members.has(row) ? "front" : standing(kept.columns, row, words.outcomes);
}

/** One standard error of a loss, along its axis. @param {Trace} trace @param {number[]} rows */
function errors(trace, rows) {
  const style = trace.error_y ?? trace.error_x;
  const array = rows.map(row => kept.columns.val_error[row]);
  const known = trace.meta === "front" && array.some(value => value !== null);
  trace.error_y = {...style, array, visible: known && choice.y === LOSS};
  trace.error_x = {...style, array, visible: known && choice.x === LOSS};
}

/** The front's line and members, the knee, the model that is named. */
function fillMoving() {
  const {columns} = kept;
  const [xs, ys] = [columns.values(choice.x), columns.values(choice.y)];
  const at = /** @param {number[]} rows */ rows => rows.filter(row => row >= 0 && xs[row] !== null && ys[row] !== null);
  for (const {trace} of moving) {
    trace.visible = !hidden.has(trace.legendgroup);
    if (trace.meta === "dominated") {
      fade(trace);
      continue;
    }
    if (trace.meta === "line") {
      const line = stepLine(columns, found.front, choice);
      fill(trace, [], line.x, line.y);
      continue;
    }
    const limited = Object.keys(choice.limits).length > 0;
    const rows = at(trace.meta === "front" ? found.front : trace.meta === "knee" ? [found.knee] : limited ? [found.best] : []);
    fill(trace, rows, rows.map(row => xs[row]), rows.map(row => ys[row]));
    if (trace.meta === "front") errors(trace, rows);
    if (trace.meta === "knee") trace.text = rows.map(() => "knee");
  }
}

/** What is beyond a limit fades. @param {Trace} trace */
function fade(trace) {
  const {columns} = kept;
  const bounds = Object.entries(choice.limits).map(([name, most]) => ({values: columns.values(name), most}));
  trace.marker.opacity = !bounds.length ? 1 : trace.customdata.map((/** @type {number} */ number) => {
    const row = columns.place(number);
    return bounds.every(({values, most}) => values[row] !== null && Number(values[row]) <= most) ? 1 : 0.15;
  });
}

// --- a slider moves ---

let frame = 0;

function slid() {
  if (!frame) frame = requestAnimationFrame(move);
}

function move() {
  frame = 0;
  performance.mark("nas-move");
  look();
  if (drawn && scene) {
    fillMoving();
    // without a redraw of the other traces, which takes three times as long
    const still = {mode: "immediate", frame: {duration: 0, redraw: false}, transition: {duration: 0}};
    const data = moving.map(({trace}) => Object.fromEntries(CHANGING.filter(name => name in trace).map(name => [name, trace[name]])));
    Plotly.animate(plot, {data, traces: moving.map(({place: at}) => at)}, still);
    Plotly.relayout(plot, {shapes: veils()});
  }
  tell();
  element("reset").toggleAttribute("disabled", !Object.keys(choice.limits).length);
  performance.measure("nas-move", "nas-move");
}

// --- zoom ---

/** @param {Record<string, any>} event */
function zoomed(event) {
  if (!("xaxis.range[0]" in event) && !("yaxis.range[0]" in event)) return;
  const {x, y} = plot._fullLayout ? {x: plot._fullLayout.xaxis.range, y: plot._fullLayout.yaxis.range} : ranges();
  choice.zoom = [...x, ...y].map(Number);
  held = false;
  draw();
  remember();
}

function whole() {
  choice.zoom = null;
  draw();
  remember();
}

// --- words ---

/** @param {number} number */
function candidate(number) {
  return `/searches/${encodeURIComponent(given.search)}/candidates/${number}`;
}

/** @param {number} marks @param {number} candidates */
function caption(marks, candidates) {
  const {hidden: without, parts} = /** @type {Scene} */ (scene);
  const lossy = choice.x === LOSS || choice.y === LOSS;
  const lines = ["Each mark is a candidate: further left and lower are better."];
  if (lossy && found.front.some(row => kept.columns.val_error[row] !== null)) lines.push("Bars are one standard error.");
  if (candidates > marks) {
    lines.push(`Of ${candidates} candidates, ${marks} are drawn: one for those that would cover each other.${coarse ? "" : " Drag a box to look closer."}`);
  }
  if (own().length > 2) lines.push("Members above the line are on the front for what they save elsewhere.");
  if (lossy && parts.has("stopped")) lines.push("Crosses stand at the last loss before the stop, which more training would have lowered.");
  if (lossy && parts.has("final")) lines.push("The final run had a budget of its own and is judged on the test split.");
  if (without) lines.push(`${without} without a value on both axes ${without === 1 ? "is" : "are"} not drawn.`);
  const sources = [choice.x, choice.y].map(name => `${quantities[name].name}: ${quantities[name].source}`).join("; ");
  lines.push(`${sources[0].toUpperCase()}${sources.slice(1)}.`);
  const place = element("front-caption");
  const link = text("a", "table of the front", {href: "#members"});
  const other = text("a", "list of all candidates", {href: "#candidates-title"});
  place.replaceChildren(`${lines.join(" ")} Everything is also in the `, link, " and in the ", other, ".");
}

/** What follows from the limits, outside of the figure. */
function tell() {
  element("front-title").textContent = title(found, own(), choice.limits, words);
  clearTimeout(told);
  told = window.setTimeout(spell, 120);
  sentence();
}

/** @type {number | undefined} */
let told;
/** @type {number | undefined} */
let heard;
let sentenceNow = "";

/** The sentence changes at once for the eye; a reader is told when the slider rests. */
function sentence() {
  const {before, number, after} = bestSentence(kept.columns, found, choice.limits, words);
  const now = `${before}${number}${after}`;
  if (now === sentenceNow) return;
  sentenceNow = now;
  const place = element("best");
  place.replaceChildren(before, ...(number === null ? [] : [text("a", `#${number}`, {href: candidate(number)})]), after);
  place.classList.toggle("note", found.trained > 0 && found.best < 0);
  clearTimeout(heard);
  heard = window.setTimeout(() => {
    element("best-said").textContent = place.textContent;
  }, 700);
}

/** What may come a moment later. */
function spell() {
  table();
  remember();
  const query = new URLSearchParams();
  for (const name of own()) query.append("objectives", name);
  for (const [name, most] of Object.entries(choice.limits)) query.set(`max.${name}`, String(most));
  const link = /** @type {HTMLAnchorElement} */ (element("front-json"));
  link.href = `/api/v1/searches/${encodeURIComponent(given.search)}/front?${query}`;
}

function remember() {
  const query = writeChoice(choice, new URLSearchParams(location.search), given.objectives);
  query.delete("c");
  for (const number of compared) query.append("c", String(number));
  if (order.by) query.set("sort", `${order.down ? "-" : ""}${order.by}`);
  else query.delete("sort");
  const text = String(query).replaceAll("%2C", ",");
  history.replaceState(history.state, "", `${location.pathname}${text ? `?${text}` : ""}${location.hash}`);
}

// --- the key ---

function keys() {
  const {columns} = kept;
  const {parts} = /** @type {Scene} */ (scene);
  const wanted = [];
  const stands = Object.entries(words.standings).filter(([name]) =>
    name === "front" ? found.front.length : parts.has(name) || parts.has(`${name} row`));
  for (const [name, own] of stands) {
    wanted.push({group: name, name: name === "final" ? "final run, test loss" : own.name, colour: own.colour, sign: own.sign});
  }
  const style = /** @param {string} meta */ meta => traces.find(trace => trace.meta === meta)?.marker;
  if (parts.has("audited")) wanted.push({group: "audited", name: "stop audited", colour: style("audited").line.color, sign: "circle-open"});
  if (found.knee >= 0) wanted.push({group: "knee", name: "knee", colour: style("knee").line.color, sign: "diamond-open"});
  const origins = new Set((parts.get("dominated")?.rows ?? []).map(row => columns.origin[row]));
  for (const [name, told] of Object.entries(words.origins)) {
    if (origins.has(name)) wanted.push({group: "", name: told, colour: "#808080", sign: `${words.shapes[name]}-open`});
  }
  const place = element("keys");
  const now = JSON.stringify(wanted.map(own => own.name));
  if (place.dataset.now === now) return;
  place.dataset.now = now;
  place.replaceChildren(...wanted.map(key));
}

/** @param {{group: string, name: string, colour: string, sign: string}} own */
function key({group, name, colour, sign}) {
  const space = "http://www.w3.org/2000/svg";
  const item = document.createElement("li");
  const icon = document.createElementNS(space, "svg");
  for (const [attribute, value] of Object.entries({viewBox: "-9 -9 18 18", width: "16", height: "16", "aria-hidden": "true"})) {
    icon.setAttribute(attribute, value);
  }
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", words.glyphs[sign.replace("-open", "")]);
  path.setAttribute("fill", sign.endsWith("-open") ? "none" : colour);
  path.setAttribute("stroke", colour);
  path.setAttribute("stroke-width", "2");
  icon.append(path);
  if (!group) {
    item.append(icon, name);
    return item;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", String(!hidden.has(group)));
  button.append(icon, name);
  button.addEventListener("click", () => {
    if (hidden.has(group)) hidden.delete(group);
    else hidden.add(group);
    button.setAttribute("aria-pressed", String(!hidden.has(group)));
    paint();
  });
  item.append(button);
  return item;
}

// --- the table ---

/** @returns {{key: string, name: string, source: string, value: (row: number) => number | string | null, text: (row: number) => string}[]} */
function tableColumns() {
  const {columns} = kept;
  const shown = [...new Set([...own().filter(name => name !== LOSS), ...Object.keys(choice.limits), "params"])];
  return [
    {key: "number", name: "candidate", source: "", value: row => columns.number[row], text: row => `#${columns.number[row]}`},
    {
      key: LOSS, name: "validation loss, bits per byte", source: "measured", value: row => columns.val_bpb[row],
      text: row => withError(columns.val_bpb[row], columns.val_error[row]),
    },
    ...shown.filter(name => name in columns.costs).map(name => ({
      key: name,
      name: quantities[name].name + (quantities[name].unit.includes("per byte") ? " per byte of text" : ""),
      source: quantities[name].source,
      value: (/** @type {number} */ row) => columns.costs[name][row],
      text: (/** @type {number} */ row) => format(quantities[name].format, columns.costs[name][row]),
    })),
    {key: "origin", name: "came from", source: "", value: row => words.origins[columns.origin[row]], text: row => words.origins[columns.origin[row]]},
  ];
}

function table() {
  const {columns} = kept;
  const heads = tableColumns();
  const own = /** @type {HTMLTableElement} */ (element("members"));
  const rows = [...found.front];
  const by = heads.find(head => head.key === order.by);
  if (by) rows.sort((a, b) => (order.down ? -1 : 1) * compareValues(by.value(a), by.value(b)));
  const shown = all ? rows : rows.slice(0, SHOWN);
  const focus = document.activeElement instanceof HTMLElement && own.contains(document.activeElement) ? document.activeElement.id : "";
  own.tHead?.replaceChildren(headRow(heads));
  own.tBodies[0].replaceChildren(...shown.map(row => memberRow(row, heads)));
  own.tHead?.toggleAttribute("hidden", !rows.length);
  element("no-members").hidden = rows.length > 0;
  element("no-members").textContent = found.trained
    ? "No model within the limits." : "The front begins with the first candidate that is trained to the end.";
  if (focus) document.getElementById(focus)?.focus();
  const more = element("all-members");
  more.hidden = shown.length === rows.length;
  more.textContent = `Show all ${rows.length}`;
  for (const number of compared) if (columns.length && columns.place(number) < 0) compared.delete(number);
  showCompare();
}

/** @param {string | number | null} a @param {string | number | null} b gaps last */
function compareValues(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

/** @param {ReturnType<typeof tableColumns>} heads */
function headRow(heads) {
  const row = document.createElement("tr");
  row.append(text("th", "compare", {scope: "col"}));
  for (const head of heads) {
    const cell = text("th", "", {scope: "col", className: head.key === "origin" ? "" : "number"});
    const button = text("button", head.name, {type: "button", id: `sort-${head.key}`});
    if (order.by === head.key) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    button.addEventListener("click", () => {
      order = {by: head.key, down: order.by === head.key && !order.down};
      table();
      remember();
    });
    cell.append(button);
    if (head.source) cell.append(" ", text("span", head.source, {className: `source ${head.source}`}));
    row.append(cell);
  }
  row.append(text("th", "worth noting", {scope: "col"}));
  return row;
}

/** @param {number} row @param {ReturnType<typeof tableColumns>} heads */
function memberRow(row, heads) {
  const number = kept.columns.number[row];
  const line = document.createElement("tr");
  const box = text("input", "", {type: "checkbox", checked: compared.has(number), id: `compare-${number}`});
  box.setAttribute("aria-label", `compare #${number}`);
  box.addEventListener("change", () => pick(number, /** @type {HTMLInputElement} */ (/** @type {unknown} */ (box))));
  const first = document.createElement("td");
  first.append(box);
  line.append(first);
  for (const head of heads) {
    const cell = text(head.key === "number" ? "th" : "td", "", {className: head.key === "origin" ? "" : "number"});
    if (head.key === "number") {
      cell.setAttribute("scope", "row");
      cell.append(text("a", head.text(row), {href: candidate(number), id: `member-${number}`}));
    } else {
      cell.textContent = head.text(row);
    }
    line.append(cell);
  }
  line.append(text("td", remark(kept.columns, found, row)));
  return line;
}

/** @param {number} number @param {HTMLInputElement} box */
function pick(number, box) {
  if (box.checked && compared.size >= COMPARED) {
    box.checked = false;
    say(`At most ${COMPARED} candidates can be compared.`);
    return;
  }
  if (box.checked) compared.add(number);
  else compared.delete(number);
  showCompare();
  remember();
}

function showCompare() {
  const link = element("compare");
  const ready = compared.size > 1;
  link.textContent = compared.size ? `Compare ${compared.size}` : "Compare";
  link.setAttribute("aria-disabled", String(!ready));
  link.title = ready ? "" : "Choose two to eight candidates in the table";
  if (ready) link.setAttribute("href", `/searches/${encodeURIComponent(given.search)}/compare?${[...compared].map(own => `c=${own}`).join("&")}`);
  else link.removeAttribute("href");
}

/** @param {string} tag @param {string} content @param {Record<string, unknown>} [more] */
function text(tag, content, more = {}) {
  return Object.assign(document.createElement(tag), {textContent: content}, more);
}

// --- controls ---

function controls() {
  const [x, y, by] = ["axis-x", "axis-y", "axis-by"].map(id => /** @type {HTMLSelectElement} */ (element(id)));
  const log = /** @type {HTMLInputElement} */ (element("axis-log"));
  x.addEventListener("change", () => turn("x", x.value));
  y.addEventListener("change", () => turn("y", y.value));
  by.addEventListener("change", () => { choice.by = by.value; draw(); });
  log.addEventListener("change", () => { choice.log = log.checked; choice.zoom = null; draw(); });
  element("axes").addEventListener("submit", event => event.preventDefault());
  element("whole").addEventListener("click", whole);
  element("reset").addEventListener("click", () => limits.reset());
  element("all-members").addEventListener("click", () => { all = true; table(); });
  for (const button of document.querySelectorAll("[data-picture]")) {
    button.addEventListener("click", () => picture(/** @type {HTMLElement} */ (button).dataset.picture ?? "png"));
  }
}

/** Another quantity on an axis; if it is on the other one, they change places. @param {"x" | "y"} letter @param {string} name */
function turn(letter, name) {
  const other = letter === "x" ? "y" : "x";
  if (choice[other] === name) choice[other] = choice[letter];
  choice[letter] = name;
  choice.zoom = null;
  if (choice.by === choice.x || choice.by === choice.y) choice.by = "";
  options();
  draw();
}

/** What can be chosen: the loss and the costs that there are. */
function options() {
  const known = new Set([LOSS, choice.x, choice.y, ...kept.columns.known()]);
  const names = Object.keys(quantities).filter(name => known.has(name));
  const named = names.map(name => /** @type {[string, string]} */ ([name, quantities[name].name]));
  offer("axis-x", named, choice.x);
  offer("axis-y", named, choice.y);
  offer("axis-by", [
    ["", "the search's objectives"],
    ["axes", "what is drawn"],
    ...named.filter(([name]) => name !== choice.x && name !== choice.y)
      .map(([name, told]) => /** @type {[string, string]} */ ([name, `what is drawn, and ${told}`])),
  ], choice.by);
  /** @type {HTMLInputElement} */ (element("axis-log")).checked = choice.log;
}

/** @param {string} id @param {[string, string][]} offered @param {string} value */
function offer(id, offered, value) {
  const select = /** @type {HTMLSelectElement} */ (element(id));
  const now = JSON.stringify(offered);
  if (select.dataset.now !== now) {
    select.dataset.now = now;
    select.replaceChildren(...offered.map(([name, told]) => text("option", told, {value: name})));
  }
  select.value = value;
}

/** The figure as a file, with the page's own colours. @param {string} kind */
async function picture(kind) {
  if (!drawn) {
    say("There is nothing drawn yet.");
    return;
  }
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const shown = {
    data: traces,
    layout: {
      ...layout(),
      paper_bgcolor: style.getPropertyValue("--card").trim(),
      font: {...given.frame.layout.font, color: ink},
      title: {text: title(found, own(), choice.limits, words), font: {size: 15}, x: 0.02, xanchor: "left"},
      margin: {l: 8, r: 20, t: 48, b: 8},
    },
  };
  await Plotly.downloadImage(shown, {format: kind, width: 1100, height: 640, filename: `${given.search}-front`});
}

// --- as it happens ---

/** This module comes before plotly, so that the columns are on their way while a browser reads that. */
const loaded = new Promise(resolve => {
  if (document.readyState === "complete" || "Plotly" in window) resolve(null);
  else document.addEventListener("DOMContentLoaded", () => resolve(null), {once: true});
});

document.addEventListener("nas:columns", async () => {
  await loaded;
  options();
  draw();
});
document.addEventListener("nas:columns-failed", event => {
  const {problem} = /** @type {CustomEvent} */ (event).detail;
  if (kept.columns.revision < 0) element("front-empty").textContent = `The candidates could not be loaded: ${problem.message}. It is tried again.`;
});
document.addEventListener("nas:deleted", () => {
  element("deleted").hidden = false;
  for (const button of document.querySelectorAll(".actions button")) button.setAttribute("disabled", "");
});
document.addEventListener("htmx:after:request", event => {
  const {ctx} = /** @type {CustomEvent} */ (event).detail;
  if (ctx.target?.id !== "candidates") return;
  const query = new URLSearchParams(location.search);
  const asked = new URL(ctx.request.action, location.href).searchParams;
  for (const name of FILTERS) {
    const value = asked.get(name);
    if (value && !(name === "order_by" && value === "number")) query.set(name, value);
    else query.delete(name);
  }
  history.replaceState(history.state, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
});
narrow.addEventListener("change", () => { if (drawn) draw(); });

const sorted = new URLSearchParams(location.search).get("sort");
if (sorted) order = {by: sorted.replace("-", ""), down: sorted.startsWith("-")};
controls();
options();
showCompare();
follow(given.search, given.event);
kept.refresh();
