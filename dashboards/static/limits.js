// @ts-check
// Limits: a slider and a field for each cost. The slider's steps are even in the cost's logarithm; its end means none.
import {text} from "./elements.js";
import {format, parse} from "./units.js";

/** @typedef {import("./columns.js").Columns} Columns */
/** @typedef {{low: number, high: number}} Scale */

export const STEPS = 200;

/**
 * From the least to the most of a cost; null where there is nothing to choose.
 * @param {(number | null)[]} values @returns {Scale | null}
 */
export function scaleOf(values) {
  let low = Infinity;
  let high = 0;
  for (const value of values) {
    if (value === null || !(value > 0)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return high > low ? {low, high} : null;
}

/** The value of a step; null at the end, where there is no limit. @param {number} step @param {Scale} scale */
export function valueOf(step, {low, high}) {
  if (step >= STEPS) return null;
  if (step <= 0) return low;
  return Number((low * (high / low) ** (step / STEPS)).toPrecision(4));
}

/** The last step whose value is not above a limit. @param {number | undefined} value @param {Scale} scale */
export function stepOf(value, {low, high}) {
  if (value === undefined || value >= high) return STEPS;
  if (value <= low) return 0;
  return Math.min(STEPS - 1, Math.round((STEPS * Math.log(value / low)) / Math.log(high / low)));
}

/**
 * @typedef {{
 *   field: HTMLElement, slider: HTMLInputElement, number: HTMLInputElement, said: HTMLElement, scale: Scale | null
 * }} Control
 */

export class Limits {
  /**
   * @param {HTMLElement} place for those of the search's objectives @param {HTMLElement} more for the others
   * @param {Record<string, {name: string, source: string, format: string}>} quantities
   * @param {string[]} objectives
   * @param {Record<string, number>} limits changed in place
   * @param {() => void} moved
   */
  constructor(place, more, quantities, objectives, limits, moved) {
    this._place = place;
    this._more = more;
    this._quantities = quantities;
    this._objectives = objectives;
    this._limits = limits;
    this._moved = moved;
    /** @type {Map<string, Control>} */
    this._controls = new Map();
  }

  /** Sliders for the costs that there are now. @param {Columns} columns */
  fit(columns) {
    for (const name of Object.keys(this._quantities)) {
      if (!(name in columns.costs)) continue;
      const scale = scaleOf(columns.costs[name]);
      if (!scale && !(name in this._limits)) continue;
      const control = this._controls.get(name) ?? this._make(name);
      control.scale = scale;
      control.slider.disabled = !scale;
      if (document.activeElement !== control.number) this._show(name);
    }
    const others = this._more.querySelector("div");
    if (others) this._more.hidden = !others.childElementCount;
  }

  reset() {
    for (const name of Object.keys(this._limits)) delete this._limits[name];
    for (const name of this._controls.keys()) this._show(name);
    this._moved();
  }

  /** @param {string} name */
  _show(name) {
    const {slider, number, said, scale} = /** @type {Control} */ (this._controls.get(name));
    const own = this._quantities[name];
    const limit = this._limits[name];
    if (scale) slider.value = String(stepOf(limit, scale));
    slider.setAttribute("aria-valuetext", limit === undefined ? "no limit" : `at most ${format(own.format, limit)}`);
    number.value = limit === undefined ? "" : format(own.format, limit);
    number.removeAttribute("aria-invalid");
    said.hidden = true;
    if (limit !== undefined && this._more.contains(slider)) this._more.setAttribute("open", "");
  }

  /** @param {string} name @param {number | null} value */
  _set(name, value) {
    if (value === null) delete this._limits[name];
    else this._limits[name] = value;
    this._show(name);
    this._moved();
  }

  /** @param {string} name @returns {Control} */
  _make(name) {
    const own = this._quantities[name];
    const field = document.createElement("div");
    field.className = "limit";
    const label = text("label", own.name, {htmlFor: `limit-${name}`});
    label.append(" ", text("span", own.source, {className: `source ${own.source}`}));
    const slider = Object.assign(document.createElement("input"), {
      type: "range", min: "0", max: String(STEPS), step: "1", id: `limit-${name}`,
    });
    const number = Object.assign(document.createElement("input"), {
      type: "text", id: `most-${name}`, placeholder: "no limit", autocomplete: "off", spellcheck: false, size: 9,
    });
    number.setAttribute("aria-label", `${own.name}, at most`);
    const said = text("p", "", {id: `most-${name}-said`, className: "note"});
    said.setAttribute("role", "alert");
    said.hidden = true;
    number.setAttribute("aria-describedby", said.id);
    field.append(label, slider, number, said);
    const control = /** @type {Control} */ ({field, slider, number, said, scale: null});
    this._controls.set(name, control);
    slider.addEventListener("input", () => {
      if (control.scale) this._set(name, valueOf(Number(slider.value), control.scale));
    });
    number.addEventListener("change", () => this._typed(name, number.value));
    (this._objectives.includes(name) ? this._place : this._more.querySelector("div") ?? this._place).append(field);
    return control;
  }

  /** @param {string} name @param {string} typed */
  _typed(name, typed) {
    const own = this._quantities[name];
    const {number, said} = /** @type {Control} */ (this._controls.get(name));
    const value = typed.trim() === "" ? null : parse(own.format, typed);
    if (typed.trim() !== "" && value === null) {
      number.setAttribute("aria-invalid", "true");
      said.textContent = `Must be an amount such as ${EXAMPLES[own.format] ?? "12.5"}.`;
      said.hidden = false;
      return;
    }
    this._set(name, value);
  }
}

/** @type {Record<string, string>} */
const EXAMPLES = {count: "1.2M", flops: "250 kFLOP", bytes: "1.5 MiB", seconds: "7 min 30 s", milliseconds: "40 ms"};
