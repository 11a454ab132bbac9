// @ts-check
// The list of searches: fetched again while something runs, two of them chosen to compare.
import {announcement, chosenIn, due, withChosen} from "./list.js";

const htmx = /** @type {{ajax: (verb: string, path: string, given: object) => Promise<void>}} */ (Reflect.get(window, "htmx"));
const place = /** @type {HTMLElement} */ (document.getElementById("searches"));
const offline = /** @type {HTMLElement | null} */ (document.getElementById("offline"));
const told = /** @type {HTMLElement | null} */ (document.getElementById("told"));
let asked = Date.now();
let asking = false;

/** @returns {DOMStringMap} what the table says of itself */
function state() {
  return document.getElementById("state")?.dataset ?? {};
}

/** The table as it is now; nothing is swapped where it has not changed. */
async function refresh() {
  if (asking) return;
  asking = true;
  asked = Date.now();
  const tag = state().tag ?? "";
  try {
    await htmx.ajax("GET", location.pathname + location.search, {
      source: place, target: place, swap: "innerMorph", headers: {"If-None-Match": tag},
    });
  } finally {
    asking = false;
  }
}

document.addEventListener("htmx:before:response", event => {
  const {ctx} = /** @type {CustomEvent} */ (event).detail;
  if (offline) offline.hidden = true;
  // what was asked for before somebody chose something else
  if (ctx.sourceElement === place && ctx.request.action !== location.pathname + location.search) event.preventDefault();
});
document.addEventListener("htmx:error", event => {
  if (/** @type {CustomEvent} */ (event).detail.ctx && offline) offline.hidden = false;
});
document.addEventListener("htmx:after:swap", event => {
  const {ctx} = /** @type {CustomEvent} */ (event).detail;
  if (ctx.sourceElement === place) return;
  if (ctx.hx.replaceurl) history.replaceState(null, "", ctx.hx.replaceurl);
  if (told) told.textContent = announcement(Number(state().shown));
  const url = new URL(location.href);
  for (const name of ["sort", "order"]) {
    const hidden = document.querySelector(`#filters input[name=${name}]`);
    if (hidden instanceof HTMLInputElement) hidden.value = url.searchParams.get(name) ?? "";
    if (hidden instanceof HTMLInputElement && name === "sort" && !hidden.value) hidden.value = "created";
  }
});
place.addEventListener("change", event => {
  const box = event.target;
  if (!(box instanceof HTMLInputElement) || box.name !== "s") return;
  const chosen = chosenIn(location.search).filter(own => own !== box.value);
  if (box.checked) chosen.push(box.value);
  history.replaceState(null, "", location.pathname + withChosen(location.search, chosen));
  asking = false;
  void refresh();
});
setInterval(() => {
  if (!document.hidden && due(Date.now() - asked, Boolean(state().live))) void refresh();
}, 1000);
