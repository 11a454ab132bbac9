// @ts-check
// The table of the front's members: in what order they stand, and which of them are to be compared.
import {say} from "./api.js";
import {LOSS} from "./choice.js";
import {element, text} from "./elements.js";
import {remark} from "./sentences.js";
import {format, withError} from "./units.js";

/** @typedef {import("./state.js").State} State */
/**
 * @typedef {{
 *   key: string, name: string, source: string, value: (row: number) => number | string | null, text: (row: number) => string
 * }} Head a column: what stands in it for a row of the candidates' columns
 */

const SHOWN = 50; // rows of the table before somebody wants all
const COMPARED = 8;

export class Members {
  /** @param {State} state @param {() => void} chosen an order, or what is compared */
  constructor(state, chosen) {
    this._state = state;
    this._chosen = chosen;
    this._all = false;
    element("all-members").addEventListener("click", () => {
      this._all = true;
      this.show();
      element("members").parentElement?.focus({preventScroll: true}); // the button is gone
    });
    this._showCompare();
  }

  show() {
    const {columns, found, order, compared} = this._state;
    const heads = headsOf(this._state);
    const own = /** @type {HTMLTableElement} */ (element("members"));
    const rows = sorted(found.front, heads.find(head => head.key === order.by), order.down);
    const shown = this._all ? rows : rows.slice(0, SHOWN);
    const focus = document.activeElement instanceof HTMLElement && own.contains(document.activeElement) ? document.activeElement.id : "";
    own.tHead?.replaceChildren(this._headRow(heads));
    own.tBodies[0].replaceChildren(...shown.map(row => this._memberRow(row, heads)));
    own.tHead?.toggleAttribute("hidden", !rows.length);
    element("no-members").hidden = rows.length > 0;
    element("no-members").textContent = found.trained
      ? "No model within the limits." : "The front begins with the first candidate that is trained to the end.";
    if (focus) document.getElementById(focus)?.focus();
    const more = element("all-members");
    more.hidden = shown.length === rows.length;
    more.textContent = `Show all ${rows.length}`;
    for (const number of compared) if (columns.length && columns.place(number) < 0) compared.delete(number);
    this._showCompare();
  }

  /** @param {Head[]} heads */
  _headRow(heads) {
    const row = document.createElement("tr");
    row.append(text("th", "compare", {scope: "col"}));
    row.append(...heads.map(head => this._headCell(head)));
    row.append(text("th", "worth noting", {scope: "col"}));
    return row;
  }

  /** @param {Head} head */
  _headCell({key, name, source}) {
    const {order} = this._state;
    const cell = text("th", "", {scope: "col", className: key === "origin" ? "" : "number"});
    const button = text("button", name, {type: "button", id: `sort-${key}`});
    if (order.by === key) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    button.addEventListener("click", () => {
      this._state.order = {by: key, down: order.by === key && !order.down};
      this.show();
      this._chosen();
    });
    cell.append(button);
    if (source) cell.append(" ", text("span", source, {className: `source ${source}`}));
    return cell;
  }

  /** @param {number} row @param {Head[]} heads */
  _memberRow(row, heads) {
    const {columns, compared, found} = this._state;
    const number = columns.number[row];
    const line = document.createElement("tr");
    const box = Object.assign(document.createElement("input"), {type: "checkbox", checked: compared.has(number), id: `compare-${number}`});
    box.setAttribute("aria-label", `compare #${number}`);
    box.addEventListener("change", () => this._pick(number, box));
    const first = document.createElement("td");
    first.append(box);
    line.append(first);
    for (const head of heads) {
      const cell = text(head.key === "number" ? "th" : "td", "", {className: head.key === "origin" ? "" : "number"});
      if (head.key === "number") {
        cell.setAttribute("scope", "row");
        cell.append(text("a", head.text(row), {href: this._state.address(`candidates/${number}`), id: `member-${number}`}));
      } else {
        cell.textContent = head.text(row);
      }
      line.append(cell);
    }
    line.append(text("td", remark(columns, found, row)));
    return line;
  }

  /** @param {number} number @param {HTMLInputElement} box */
  _pick(number, box) {
    const {compared} = this._state;
    if (box.checked && compared.size >= COMPARED) {
      box.checked = false;
      say(`At most ${COMPARED} candidates can be compared.`);
      return;
    }
    if (box.checked) compared.add(number);
    else compared.delete(number);
    this._showCompare();
    this._chosen();
  }

  _showCompare() {
    const {compared} = this._state;
    const link = element("compare");
    const ready = compared.size > 1;
    link.textContent = compared.size ? `Compare ${compared.size}` : "Compare";
    link.setAttribute("aria-disabled", String(!ready));
    link.title = ready ? "" : "Choose two to eight candidates in the table";
    if (ready) link.setAttribute("href", this._state.address(`compare?${[...compared].map(own => `c=${own}`).join("&")}`));
    else link.removeAttribute("href");
  }
}

/** @param {State} state @returns {Head[]} */
function headsOf({columns, objectives, choice, quantities, words}) {
  const shown = [...new Set([...objectives.filter(name => name !== LOSS), ...Object.keys(choice.limits), "params"])];
  const origin = /** @param {number} row */ row => words.origins[columns.origin[row]];
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
    {key: "origin", name: "came from", source: "", value: origin, text: origin},
  ];
}

/** Rows by a column; as they are where there is none. @param {number[]} front @param {Head | undefined} by @param {boolean} down */
function sorted(front, by, down) {
  const rows = [...front];
  if (by) rows.sort((a, b) => (down ? -1 : 1) * compareValues(by.value(a), by.value(b)));
  return rows;
}

/** @param {string | number | null} a @param {string | number | null} b gaps last */
function compareValues(a, b) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}
