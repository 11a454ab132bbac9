// @ts-check
// What stands beside the front: curves by their columns, other figures by what comes with their part of the page.
import {Again, outcome, sentence} from "./again.js";
import {api} from "./api.js";
import {NOTHING, axes, data, drawn, filled, merged, missing, rows, rungs, summary} from "./curves.js";
import {throttled} from "./live.js";

/** @typedef {{data: any[], layout: any}} Frame */

const POINTS = 100;
const PAUSE = 2000;
const MOST = ["60", "120", "300"];

const place = /** @type {HTMLElement} */ (document.getElementById("progress"));
const search = encodeURIComponent(place.dataset.search ?? "");
const frames = /** @type {Record<string, Frame>} */ (island("progress-frames"));
const words = /** @type {import("./curves.js").Words} */ (island("progress-words"));
const coarse = matchMedia("(pointer: coarse)").matches;
const narrow = matchMedia("(max-width: 40rem)");

/** @param {string} id @returns {any} what stands there; nothing without it */
function island(id) {
  const text = document.getElementById(id)?.textContent;
  return text ? JSON.parse(text) : null;
}

/** @param {string} id @returns {HTMLElement} */
function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * Draws a frame with data; what somebody has zoomed into stays.
 * @param {string} name @param {object[]} columns one for each trace @param {any} [layout] more of it
 */
function draw(name, columns, layout = {}) {
  const frame = frames[name];
  const traces = frame.data.map((trace, index) => ({...trace, ...columns[index]}));
  const whole = structuredClone({...frame.layout, ...layout, uirevision: "kept"});
  for (const axis of ["xaxis", "yaxis"]) {
    whole[axis] = {...structuredClone(frame.layout[axis]), ...layout[axis]};
    if (narrow.matches) { // smaller letters
      whole[axis].tickfont = {size: 10};
      if (whole[axis].title) whole[axis].title.font = {size: 11};
    }
  }
  if (coarse) whole.dragmode = false; // a finger on a figure scrolls the page
  const plot = element(`${name}-plot`);
  plot.hidden = element(`${name}-downloads`).hidden = false;
  return Plotly.react(plot, traces, whole, {responsive: true, displayModeBar: false});
}

// --- curves ---

let kept = NOTHING;
let busy = false;
let wanted = false;
const again = new Again(refresh);

/** How many are wanted: it is in the address. */
function most() {
  const wanted = new URLSearchParams(location.search).get("curves") ?? "";
  return MOST.includes(wanted) ? wanted : MOST[0];
}

async function refresh() {
  if (busy) {
    wanted = true;
    return;
  }
  busy = true;
  try {
    await load();
  } catch (error) {
    failed(error);
    return;
  } finally {
    busy = false;
    if (wanted) {
      wanted = false;
      refresh();
    }
  }
  again.worked();
  show();
}

async function load() {
  const path = `/searches/${search}/curves/columns?points=${POINTS}`;
  const since = kept.revision >= 0 ? `&since_revision=${kept.revision}` : "";
  let found = merged(kept, await api(`${path}&most=${most()}${since}`));
  const rest = missing(found);
  if (rest.length) found = filled(found, await api(path + rest.map(number => `&numbers=${number}`).join("")));
  kept = found;
}

/** @param {unknown} error */
function failed(error) {
  const {status, why} = outcome(error);
  element("curves-said").textContent = sentence("the curves", status, why);
  again.failed(status);
}

function show() {
  const curves = drawn(kept);
  element("curves-said").textContent = summary(kept, words);
  for (const part of ["figure", "details", "form"]) element(`curves-${part}`).hidden = !curves.length;
  if (!curves.length) return;
  draw("curves", data(frames.curves.data, kept, words), {...axes(curves), ...rungs(kept)}).then(opens);
  const present = new Set(kept.standing.values());
  for (const key of element("curves-figure").querySelectorAll("[data-group]")) {
    const own = /** @type {HTMLElement} */ (key);
    own.hidden = !present.has(own.dataset.group ?? "");
  }
  table();
}

/** A click on a curve opens its candidate; a tap only says which it is. */
function opens() {
  const plot = /** @type {any} */ (element("curves-plot"));
  if (coarse || plot.dataset.opens) return;
  plot.dataset.opens = "yes";
  plot.on("plotly_click", (/** @type {any} */ event) => location.assign(address(event.points[0].customdata)));
}

/** Made only where it is looked at. */
function table() {
  const details = /** @type {HTMLDetailsElement} */ (element("curves-details"));
  if (!details.open) return;
  element("curves-rows").replaceChildren(...rows(kept, words).map(({number, cells}) => {
    const row = document.createElement("tr");
    const link = document.createElement("a");
    link.href = address(number);
    link.textContent = `#${number}`;
    const head = document.createElement("td");
    head.className = "number";
    head.append(link);
    const others = cells.map((text, index) => {
      const cell = document.createElement("td");
      cell.className = index === 0 ? "" : index < 4 ? "number" : "long";
      cell.textContent = text || "—";
      return cell;
    });
    row.append(head, ...others);
    return row;
  }));
}

/** @param {number} number of a candidate */
function address(number) {
  return `/searches/${search}/candidates/${number}`;
}

function choose() {
  const select = /** @type {HTMLSelectElement} */ (element("curves-most"));
  select.value = most();
  select.addEventListener("change", () => {
    const query = new URLSearchParams(location.search);
    if (select.value === MOST[0]) query.delete("curves");
    else query.set("curves", select.value);
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
    refresh();
  });
  element("curves-form").addEventListener("submit", event => event.preventDefault());
  element("curves-details").addEventListener("toggle", table);
}

// --- figures whose data comes with a part ---

/** @type {Map<string, string>} what was drawn last */
const seen = new Map();

/** @param {string} name @param {string} id of the data @param {(found: any) => object[]} columns @param {(found: any) => boolean} empty */
function follow(name, id, columns, empty) {
  const text = document.getElementById(id)?.textContent;
  if (!text || seen.get(id) === text) return;
  seen.set(id, text);
  const found = JSON.parse(text);
  if (empty(found)) element(`${name}-plot`).hidden = element(`${name}-downloads`).hidden = true;
  else draw(name, columns(found));
}

function followed() {
  follow("volume", "volume-line", line => [line], line => !line.x.length);
  follow("account", "account-bars", bars => bars, bars => !bars.some((/** @type {any} */ own) => own.x.length));
}

// --- pictures ---

document.addEventListener("click", event => {
  const button = event.target instanceof Element ? event.target.closest("[data-figure]") : null;
  if (!(button instanceof HTMLElement)) return;
  const {figure, picture} = button.dataset;
  const size = {format: picture, width: 1000, height: 600, filename: `${place.dataset.search}-${figure}`};
  Plotly.downloadImage(element(`${figure}-plot`), size);
});

document.addEventListener("htmx:after:swap", followed);
document.addEventListener("nas:changed", throttled(refresh, PAUSE));
document.addEventListener("nas:resync", () => {
  kept = NOTHING;
  refresh();
});
narrow.addEventListener("change", () => {
  seen.clear();
  show();
  followed();
});

choose();
document.addEventListener("nas:shown", refresh, {once: true});
