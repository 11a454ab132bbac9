// @ts-check
// The plot of the front: all of it when the columns or the axes have changed, and alone what moves while a slider does.
import {isLog, layout, ranges, veils} from "./axes.js";
import {element, text} from "./elements.js";
import {attributes} from "./sentences.js";
import {thin} from "./thin.js";
import {fillMoving, fillPlaces, moves} from "./traces.js";

/** @typedef {import("./axes.js").Device} Device */
/** @typedef {import("./state.js").State} State */
/** @typedef {HTMLElement & {_fullLayout?: any, on?: (name: string, act: (event: any) => void) => void}} Plot */
/** @typedef {{zoom: (zoom: number[] | null) => void, draw: () => void}} Acts a zoom was chosen; the figure may be drawn again */

const MOST = 1500; // marks in the figure
const CHANGING = ["x", "y", "customdata", "text", "marker", "error_x", "error_y"];

export class Figure {
  /** @param {State} state @param {() => Device} device as it is now @param {Acts} acts */
  constructor(state, device, acts) {
    this._state = state;
    this._device = device;
    this._acts = acts;
    this._plot = /** @type {Plot} */ (element("front-plot"));
    this._card = element("front");
    this._tip = element("front-tip");
    this._traces = state.given.frame.data;
    for (const trace of this._traces) if (trace.hovertemplate) Object.assign(trace, {hovertemplate: "", hoverinfo: "none"}); // see _point()
    this._moving = this._traces.map((trace, place) => ({trace, place})).filter(({trace}) => moves(trace));
    this._held = false; // a finger or a button is down on the figure: it is not redrawn under it
    this._waiting = false;
    this.drawn = false;
  }

  /** Whether it may not be drawn now; ``draw`` is asked for when it may be. */
  waits() {
    if (this._held) this._waiting = true;
    return this._held;
  }

  /** @param {boolean} shown */
  show(shown) {
    this._plot.hidden = !shown;
  }

  /** Everything, from the scene on; how many marks for how many candidates. */
  paint() {
    const {scene, columns} = this._state;
    this._plot.classList.toggle("low", scene.parts.size === scene.rows.length); // rows alone
    const look = /** @param {string} part @param {number} row */ (part, row) => (part === "dominated" ? columns.origin[row] : "");
    const {parts, drawn, candidates} = thin(scene.parts, this._view(), look, MOST);
    fillPlaces(this._state, this._traces, parts);
    this._fillMoving();
    const config = {responsive: true, displayModeBar: false, doubleClick: false};
    if (this.drawn) Plotly.react(this._plot, this._traces, this._layout(), config);
    else this._first(config);
    return {marks: drawn, candidates};
  }

  /** What follows from the limits, without a redraw of the other traces, which takes three times as long. */
  move() {
    if (!this.drawn) return;
    this._fillMoving();
    const still = {mode: "immediate", frame: {duration: 0, redraw: false}, transition: {duration: 0}};
    const data = this._moving.map(({trace}) => Object.fromEntries(CHANGING.filter(name => name in trace).map(name => [name, trace[name]])));
    Plotly.animate(this._plot, {data, traces: this._moving.map(({place}) => place)}, still);
    Plotly.relayout(this._plot, {shapes: veils(this._state.choice, this._state.scene)});
  }

  /** As a file, with the page's own colours. @param {string} kind @param {string} title */
  async picture(kind, title) {
    const {search, frame} = this._state.given;
    const style = getComputedStyle(this._card);
    const shown = {
      data: this._traces,
      layout: {
        ...this._layout(),
        paper_bgcolor: style.backgroundColor,
        font: {...frame.layout.font, color: style.color},
        title: {text: title, font: {size: 15}, x: 0.02, xanchor: "left"},
        margin: {l: 8, r: 20, t: 48, b: 8},
      },
    };
    await Plotly.downloadImage(shown, {format: kind, width: 1100, height: 640, filename: `${search}-front`});
  }

  _layout() {
    return layout(this._state, this._device());
  }

  _fillMoving() {
    fillMoving(this._state, this._moving.map(({trace}) => trace));
  }

  /** What is in sight, and how large that is. */
  _view() {
    const {choice, scene} = this._state;
    const box = this._plot.getBoundingClientRect();
    return {
      ...ranges(choice, scene), logX: isLog(choice.x, choice.log), logY: isLog(choice.y, choice.log),
      width: Math.max(200, box.width - 80), height: Math.max(150, (box.height || 500) - 70),
    };
  }

  /** @param {object} config */
  _first(config) {
    this.drawn = true;
    const plot = this._plot;
    Plotly.newPlot(plot, this._traces, this._layout(), config);
    plot.on?.("plotly_relayout", event => this._zoomed(event));
    plot.on?.("plotly_doubleclick", () => this._acts.zoom(null));
    plot.on?.("plotly_hover", event => this._point(event.points[0]?.customdata, event.event));
    plot.on?.("plotly_unhover", () => { this._tip.hidden = true; });
    plot.on?.("plotly_click", event => this._open(event.points[0]?.customdata, event.event));
    plot.addEventListener("pointerdown", () => { this._held = true; });
    addEventListener("pointerup", () => setTimeout(() => this._letGo(), 50));
  }

  _letGo() {
    this._held = false;
    if (this._waiting) this._acts.draw();
    this._waiting = false;
  }

  /** @param {Record<string, any>} event */
  _zoomed(event) {
    if (!("xaxis.range[0]" in event) && !("yaxis.range[0]" in event)) return;
    const full = this._plot._fullLayout;
    const {x, y} = full ? {x: full.xaxis.range, y: full.yaxis.range} : ranges(this._state.choice, this._state.scene);
    this._held = false;
    this._acts.zoom([...x, ...y].map(Number));
  }

  /** The page of the candidate that is clicked; a finger only asks which it is. @param {number | undefined} number @param {MouseEvent} event */
  _open(number, event) {
    if (number === undefined) return;
    if (this._device().coarse) {
      this._point(number, event);
      return;
    }
    const page = this._state.address(`candidates/${number}`);
    if (event.ctrlKey || event.metaKey) open(page, "_blank", "noopener");
    else location.assign(page);
  }

  /** What is known of the candidate that is pointed at; made when it is wanted. @param {number | undefined} number @param {MouseEvent} event */
  _point(number, event) {
    const {columns, words} = this._state;
    const row = number === undefined ? -1 : columns.place(number);
    if (row < 0) return;
    const tip = this._tip;
    const [name, ...lines] = attributes(columns, row, this._state.standing(row), words);
    tip.replaceChildren(text("strong", name), ...lines.map(line => text("span", line)));
    tip.hidden = false;
    const box = this._plot.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const left = x + 16 + tip.offsetWidth > box.width ? x - 16 - tip.offsetWidth : x + 16;
    tip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, Math.min(y - 20, box.height - tip.offsetHeight))}px)`;
  }
}
