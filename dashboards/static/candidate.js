// @ts-check
// A candidate's page: its curve, what it writes, its archive; kept up while it trains.
import {Again} from "./again.js";
import {Problem, api} from "./api.js";
import "./copy.js";
import {isEmpty, traces} from "./curve.js";
import {island} from "./island.js";
import {follow} from "./live.js";
import {format} from "./units.js";

/** @typedef {{revision: number, over: boolean, artifact: boolean, curve: import("./curve.js").Curve, end: import("./curve.js").Columns}} State */
/** @typedef {{id: string, state: "running" | "done" | "failed", detail: string, sha256: string, bytes: number}} Export */

const LOOK_AGAIN = 1500; // for an export
const root = /** @type {HTMLElement} */ (document.getElementById("candidate"));
const {search = "", number = "", after = "0"} = root.dataset;
const path = `/searches/${encodeURIComponent(search)}/candidates/${number}`;

/** @param {string} id */
function found(id) {
  return document.getElementById(id);
}

/** @param {string} id @param {boolean} shown */
function show(id, shown) {
  const place = found(id);
  if (place) place.hidden = !shown;
}

/** @param {string} id @param {string} text */
function tell(id, text) {
  const place = found(id);
  if (place) place.textContent = text;
}

// --- What changes ---

function state() {
  return /** @type {State} */ (island("candidate-state"));
}

function shown() {
  const now = state();
  const words = now.over ? "It has no weights: it was not trained to the end." : "It has no weights yet: it is not trained to the end.";
  for (const own of document.querySelectorAll("[data-without]")) {
    own.textContent = words;
    /** @type {HTMLElement} */ (own).hidden = now.artifact;
  }
  for (const own of document.querySelectorAll("[data-with]")) /** @type {HTMLElement} */ (own).hidden = !now.artifact;
  show("stop", !now.over);
  draw(now);
}

/** @param {State} now */
function draw(now) {
  const place = found("curve");
  const frame = /** @type {import("./curve.js").Frame | null} */ (island("curve-frame"));
  if (!place || !frame) return;
  const empty = isEmpty(now.curve);
  for (const id of ["curve", "curve-keys", "curve-caption", "curve-files"]) show(id, !empty);
  show("curve-none", empty);
  show("curve-end", now.end.x.length > 0);
  if (!empty) Plotly.react(place, traces(frame, now.curve, now.end), frame.layout, {responsive: true, displayModeBar: false});
}

const again = new Again(refresh);
let asking = false;
let missed = false; // something changed while it was asked
let answered = 0; // with that status

async function refresh() {
  missed = asking;
  if (asking) return;
  asking = true;
  answered = 0;
  try {
    await htmx.ajax("GET", `${path}?since=${state().revision}`, {target: "#now", swap: "outerMorph"});
  } finally {
    asking = false;
  }
  if (answered < 200 || answered >= 400) {
    again.failed(answered);
    return;
  }
  again.worked();
  shown();
  if (state().over) end?.();
  if (missed) refresh();
}

document.addEventListener("htmx:after:request", event => {
  const {ctx} = /** @type {CustomEvent} */ (event).detail;
  if (ctx.target?.id === "now") answered = ctx.response.status;
});

/** @type {(() => void) | null} */
const end = state().over ? null : follow(search, Number(after));
document.addEventListener("nas:changed", refresh);
document.addEventListener("nas:deleted", () => location.assign("/"));

for (const button of document.querySelectorAll("[data-picture]")) {
  button.addEventListener("click", () => {
    const kind = /** @type {HTMLElement} */ (button).dataset.picture;
    const place = found("curve");
    if (place) Plotly.downloadImage(place, {format: kind, width: 900, height: 500, filename: `${search}-${number}-curve`});
  });
}

// --- What it writes ---

const form = /** @type {HTMLFormElement | null} */ (found("write"));
form?.addEventListener("submit", async event => {
  event.preventDefault();
  const given = new FormData(form);
  const prompt = String(given.get("prompt"));
  const body = {
    prompt,
    tokens: Number(given.get("tokens")),
    temperature: Number(given.get("temperature")),
    seed: Number(given.get("seed")),
  };
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button.primary"));
  show("write-problem", false);
  busy(button, "A worker writes …");
  try {
    const {text} = await api(`${path}/generate`, {method: "POST", body});
    const own = document.createElement("b");
    own.textContent = prompt;
    found("written")?.replaceChildren(...(text.startsWith(prompt) ? [own, text.slice(prompt.length)] : [text]));
    show("written", true);
  } catch (error) {
    failed("write-problem", error);
  } finally {
    ready(button);
  }
});

/** @param {HTMLButtonElement} button @param {string} words */
function busy(button, words) {
  button.dataset.words = button.textContent ?? "";
  button.textContent = words;
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
}

/** @param {HTMLButtonElement} button */
function ready(button) {
  button.textContent = button.dataset.words ?? "";
  button.disabled = false;
  button.removeAttribute("aria-busy");
}

/** @param {string} id @param {unknown} error */
function failed(id, error) {
  tell(id, error instanceof Problem ? error.message : "The server does not answer.");
  show(id, true);
  if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error; // a network that fails is a TypeError
}

// --- What one takes away ---

/** @param {Export | null} own */
function exported(own) {
  const running = own?.state === "running";
  show("export", state().artifact && !running && own?.state !== "done");
  show("export-busy", running);
  show("exported", own?.state === "done");
  show("export-problem", own?.state === "failed");
  if (own?.state === "failed") tell("export-problem", own.detail);
  if (own?.state !== "done") return;
  /** @type {HTMLAnchorElement} */ (found("archive")).href = `/api/v1/exports/${encodeURIComponent(own.id)}/archive`;
  tell("archive-size", format("bytes", own.bytes));
  tell("archive-hash", own.sha256);
  tell("archive-compared", own.detail || "not with anything");
}

/** @param {Export} own */
async function watched(own) {
  let now = own;
  exported(now);
  while (now.state === "running") {
    await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN));
    now = await api(`/exports/${encodeURIComponent(own.id)}`);
    exported(now);
  }
}

/** @param {() => Promise<Export>} begin */
async function exporting(begin) {
  try {
    await watched(await begin());
  } catch (error) {
    exported(null);
    failed("export-problem", error);
  }
}

found("export")?.addEventListener("click", () => {
  exporting(() => api("/exports", {method: "POST", body: {search_id: search, number: Number(number)}}));
});

shown();
const before = /** @type {Export | null} */ (island("export-state"));
if (before) exporting(async () => before);
