// @ts-check
// The front on a search's page: brings together what is known, what is shown of it, and the address. Columns and what a
// person chose become the state; the figure, the table and the sentences follow from that.
import {sentence} from "./again.js";
import {say} from "./api.js";
import {keep} from "./columns.js";
import {listen, showOptions} from "./controls.js";
import {element} from "./elements.js";
import {Figure} from "./figure.js";
import {showKey} from "./key.js";
import {Limits} from "./limits.js";
import {follow} from "./live.js";
import {Members} from "./members.js";
import {Best, showCaption, titleOf} from "./said.js";
import {State} from "./state.js";

const SOON = 120; // milliseconds without a change before the table and the address follow
const PATIENCE = 5000; // milliseconds that the rest of the page waits for the front
const FILTERS = ["state", "origin", "order_by", "descending", "page_token"];

/** @param {string} id */
function island(id) {
  return JSON.parse(element(id).textContent ?? "null");
}

const given = /** @type {import("./state.js").Given} */ (island("front-data"));
const narrow = matchMedia("(max-width: 40rem)");
const coarse = matchMedia("(pointer: coarse)").matches;
const kept = keep(given.search);
const state = new State(given, island("words"), new URLSearchParams(location.search), kept);
const figure = new Figure(state, () => ({small: narrow.matches, coarse}), {zoom, draw});
const limits = new Limits(element("limits"), element("more-limits"), state.costs, given.objectives, state.choice.limits, oncePerPicture(move));
const members = new Members(state, remember);
const best = new Best(state);
const spellSoon = rested(spell, SOON);

// --- from the state to the page ---

/** Everything, from the columns on. */
function draw() {
  if (figure.waits()) return;
  performance.mark("nas-draw");
  state.find();
  state.place();
  const anything = state.scene.parts.size > 0;
  const empty = element("front-empty");
  empty.hidden = anything;
  figure.show(anything);
  empty.textContent = anything ? "" : nothing();
  if (anything) paint();
  tell();
  limits.fit(state.columns);
  performance.measure("nas-draw", "nas-draw");
  element("reset").toggleAttribute("disabled", !state.limited);
}

function nothing() {
  const {columns, quantities, choice} = state;
  if (!columns.length) return "No candidate has been proposed yet. The figure grows with them, by itself.";
  return `No candidate has both ${quantities[choice.x].name} and ${quantities[choice.y].name} yet.`;
}

/** The figure, and what is said of it. */
function paint() {
  const painted = figure.paint();
  showKey(state, paint);
  showCaption(state, painted, coarse);
  element("whole").hidden = state.choice.zoom === null;
}

/** What follows from the limits alone, while a slider moves. */
function move() {
  performance.mark("nas-move");
  state.find();
  figure.move();
  tell();
  element("reset").toggleAttribute("disabled", !state.limited);
  performance.measure("nas-move", "nas-move");
}

/** What follows from the limits, outside of the figure. */
function tell() {
  element("front-title").textContent = titleOf(state);
  spellSoon();
  best.show();
}

/** What may come a moment later. */
function spell() {
  members.show();
  remember();
  const query = new URLSearchParams();
  for (const name of state.objectives) query.append("objectives", name);
  for (const [name, most] of Object.entries(state.choice.limits)) query.set(`max.${name}`, String(most));
  const link = /** @type {HTMLAnchorElement} */ (element("front-json"));
  link.href = `/api/v1/searches/${encodeURIComponent(given.search)}/front?${query}`;
}

// --- the address ---

/** What was chosen is in the address. */
function remember() {
  locate(String(state.written(new URLSearchParams(location.search))).replaceAll("%2C", ","));
}

/** @param {string} query */
function locate(query) {
  history.replaceState(history.state, "", `${location.pathname}${query ? `?${query}` : ""}${location.hash}`);
}

/** Filters of the list of all candidates, once their answer is there. @param {string} action the address that was asked */
function rememberFilters(action) {
  const query = new URLSearchParams(location.search);
  const asked = new URL(action, location.href).searchParams;
  for (const name of FILTERS) {
    const value = asked.get(name);
    if (value && !(name === "order_by" && value === "number")) query.set(name, value);
    else query.delete(name);
  }
  locate(String(query));
}

// --- what a person does ---

/** @param {number[] | null} wanted as the axes count; ``null`` for the whole figure */
function zoom(wanted) {
  state.choice.zoom = wanted;
  draw();
  remember();
}

/** @param {string} kind */
function picture(kind) {
  if (figure.drawn) figure.picture(kind, titleOf(state));
  else say("There is nothing drawn yet.");
}

/** Once for each picture that the screen shows. @param {() => void} act @returns {() => void} */
function oncePerPicture(act) {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      act();
    });
  };
}

/** @param {() => void} act @returns {() => void} that acts the first time alone */
function once(act) {
  let done = false;
  return () => {
    if (!done) act();
    done = true;
  };
}

/** Once it has not been asked for in so many milliseconds. @param {() => void} act @param {number} pause @returns {() => void} */
function rested(act, pause) {
  /** @type {number | undefined} */
  let later;
  return () => {
    clearTimeout(later);
    later = window.setTimeout(act, pause);
  };
}

listen(state, draw);
element("whole").addEventListener("click", () => zoom(null));
element("reset").addEventListener("click", () => limits.reset());
for (const button of document.querySelectorAll("#front [data-picture]")) {
  button.addEventListener("click", () => picture(/** @type {HTMLElement} */ (button).dataset.picture ?? "png"));
}
narrow.addEventListener("change", () => { if (figure.drawn) draw(); });

// --- as it happens ---

/** This module comes before plotly, and the columns may too: what draws waits for that. */
const loaded = new Promise(resolve => {
  if (document.readyState === "complete" || "Plotly" in window) resolve(null);
  else document.addEventListener("DOMContentLoaded", () => resolve(null), {once: true});
});

/** ``nas:shown``, once: the front has been painted, or cannot be yet. What stands beside it comes after it. */
const shown = once(async () => {
  await loaded; // whoever listens is there
  requestAnimationFrame(() => setTimeout(() => document.dispatchEvent(new CustomEvent("nas:shown"))));
});

document.addEventListener("nas:columns", async () => {
  await loaded;
  showOptions(state);
  draw();
  shown();
});
document.addEventListener("nas:columns-failed", event => {
  const {status, why} = /** @type {CustomEvent} */ (event).detail;
  if (state.columns.revision < 0) element("front-empty").textContent = sentence("the candidates", status, why);
  shown();
});
setTimeout(shown, PATIENCE);
document.addEventListener("nas:deleted", () => {
  element("deleted").hidden = false;
  for (const button of document.querySelectorAll(".actions button")) button.setAttribute("disabled", "");
});
document.addEventListener("htmx:after:request", event => {
  const {ctx} = /** @type {CustomEvent} */ (event).detail;
  if (ctx.target?.id === "candidates") rememberFilters(ctx.request.action);
});

showOptions(state);
follow(given.search, given.event, given.revision);
kept.refresh();
