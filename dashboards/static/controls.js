// @ts-check
// What is drawn along each axis, and what counts as the front: chosen from what is known of the candidates.
import {LOSS} from "./choice.js";
import {element, text} from "./elements.js";

/** @typedef {import("./state.js").State} State */

/** Listens to the controls. @param {State} state @param {() => void} changed */
export function listen(state, changed) {
  const {choice} = state;
  const [x, y, by] = ["axis-x", "axis-y", "axis-by"].map(id => /** @type {HTMLSelectElement} */ (element(id)));
  const log = /** @type {HTMLInputElement} */ (element("axis-log"));
  const turned = /** @param {"x" | "y"} letter @param {string} name */ (letter, name) => {
    turn(state, letter, name);
    showOptions(state);
    changed();
  };
  x.addEventListener("change", () => turned("x", x.value));
  y.addEventListener("change", () => turned("y", y.value));
  by.addEventListener("change", () => {
    choice.by = by.value;
    changed();
  });
  log.addEventListener("change", () => {
    choice.log = log.checked;
    choice.zoom = null;
    changed();
  });
  element("axes").addEventListener("submit", event => event.preventDefault());
}

/**
 * Another quantity on an axis; if it is on the other one, they change places.
 * @param {State} state @param {"x" | "y"} letter @param {string} name
 */
function turn({choice}, letter, name) {
  const other = letter === "x" ? "y" : "x";
  if (choice[other] === name) choice[other] = choice[letter];
  choice[letter] = name;
  choice.zoom = null;
  if (choice.by === choice.x || choice.by === choice.y) choice.by = "";
}

/** What can be chosen: the loss and the costs that there are. @param {State} state */
export function showOptions({choice, columns, quantities}) {
  const known = new Set([LOSS, choice.x, choice.y, ...columns.known()]);
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
