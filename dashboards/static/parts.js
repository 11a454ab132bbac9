// @ts-check
// Parts of a page that htmx fetches. An error leaves a part as it is (``noSwap`` of the page), and is said. A part that
// asks by itself, which has ``nas:again`` among its triggers, is tried again until it works; where it has never been
// there, it says so in its place.
import {Again, allAgain, sentence} from "./again.js";
import {say} from "./api.js";
import {throttled} from "./live.js";

const PAUSE = 2000;
const OWN = '[hx-trigger*="nas:again"]';
/** @typedef {{sourceElement: Element, response?: {status: number, headers: Headers}, text?: string}} Context */

/** @type {WeakMap<Element, Again>} */
const parts = new WeakMap();

/** @param {Element} part */
function againOf(part) {
  const own = parts.get(part) ?? new Again(() => part.dispatchEvent(new CustomEvent("nas:again")));
  parts.set(part, own);
  return own;
}

/** @param {Element} part @param {number} status @param {string} why */
function failed(part, status, why) {
  const place = part.querySelector(":scope > [data-waiting]"); // not that of a part within it
  if (place instanceof HTMLElement) place.textContent = sentence(place.dataset.waiting ?? "", status, why);
  againOf(part).failed(status);
}

/** Whether somebody has asked for it; a module that asks in the body's name hears of it by itself. @param {Context} ctx */
function pressed(ctx) {
  return ctx.sourceElement !== document.body;
}

document.addEventListener("htmx:response:error", event => {
  const ctx = /** @type {Context} */ (/** @type {CustomEvent} */ (event).detail.ctx);
  const {status = 0, headers} = ctx.response ?? {};
  const why = headers?.get("Content-Type")?.startsWith("text/plain") ? ctx.text ?? "" : ""; // else a page of whoever stands between
  if (ctx.sourceElement.matches(OWN)) failed(ctx.sourceElement, status, why);
  else if (pressed(ctx)) say(why || `The server answers ${status}.`);
});

document.addEventListener("htmx:error", event => {
  const ctx = /** @type {Context | undefined} */ (/** @type {CustomEvent} */ (event).detail.ctx);
  if (!ctx || ctx.response) return; // not of the network
  if (ctx.sourceElement.matches(OWN)) failed(ctx.sourceElement, 0, "");
  else if (pressed(ctx)) say("The server does not answer.");
});

document.addEventListener("htmx:after:request", event => {
  const {ctx} = /** @type {CustomEvent} */ (event).detail;
  if (ctx.response?.status < 400) parts.get(ctx.sourceElement)?.worked();
});

document.addEventListener("nas:back", allAgain);
addEventListener("online", allAgain);

// --- where what has the focus is gone with an answer, what has come in its place gets it ---

/** @type {Element | null} */
let held = null;
document.addEventListener("htmx:before:swap", () => { held = document.activeElement; });
document.addEventListener("htmx:after:swap", event => {
  const {ctx} = /** @type {CustomEvent} */ (event).detail;
  if (!held || held.isConnected) return;
  ctx.target?.querySelector('[tabindex="0"]')?.focus({preventScroll: true});
});

// --- what is fetched only where it is looked at: in ``details``, marked ``data-opened`` ---

/** It hears ``nas:opened`` when they are opened and, while they are open, when the search has changed. @param {Element} details */
function opened(details) {
  for (const own of details.querySelectorAll(":scope > [data-opened]")) own.dispatchEvent(new CustomEvent("nas:opened"));
}

document.addEventListener("toggle", event => {
  if (event.target instanceof HTMLDetailsElement && event.target.open) opened(event.target);
}, true); // it does not bubble
document.addEventListener("nas:changed", throttled(() => document.querySelectorAll("details[open]").forEach(opened), PAUSE));
