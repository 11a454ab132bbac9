// @ts-check
// The form of a new search: looked at while it is written, submitted once.
import {Problem, api, ask, say} from "./api.js";
import {address, canonical, command, epochs, facts, fieldFor, profileOf, remarks, specOf, times, valuesOf} from "./form.js";

const LOOK_MS = 400, FORESEE_MS = 1000, PROFILE_MS = 2000;
const told = JSON.parse(element("told").textContent ?? "{}");
const form = /** @type {HTMLFormElement} */ (element("new"));
const yaml = /** @type {HTMLTextAreaElement} */ (element("yaml"));
const agreed = /** @type {HTMLInputElement} */ (element("agreed"));
const origin = /** @type {Record<string, string>} */ (told.clone ? {clone: told.clone} : {preset: told.preset});
const start = valuesOf(told.start, told.fields);

/** @type {import("./form.js").Spec} */
let spec = told.spec;
/** Whether the server would take it. */
let valid = false;
/** Whether the YAML is not what ``spec`` says, as it cannot be read. */
let unread = false;
/** What the last forecast was of, and what is being asked. */
let foreseen = "", foreseeing = "";
/** @type {{body: string, key: string}} the key is made once for what is submitted, so that twice is once */
let sending = {body: "", key: ""};
/** @type {AbortController | null} */
let looking = null;
let lookSoon = 0, foreseeSoon = 0;

/** @param {string} id @returns {HTMLElement} */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`#${id} is missing`);
  return found;
}

/** @param {string} field @returns {(HTMLInputElement | HTMLSelectElement)[]} */
function inputs(field) {
  return Array.from(form.querySelectorAll(`[name="${field}"]`));
}

// --- fields and spec ---

function values() {
  /** @type {import("./form.js").Values} */
  const found = {};
  for (const field of told.fields) {
    const own = inputs(field);
    if (field === "minimize") found[field] = own.filter(box => "checked" in box && box.checked).map(box => box.value);
    else found[field] = own[0].value;
  }
  return found;
}

function fill() {
  const shown = valuesOf(spec, told.fields);
  for (const [field, value] of Object.entries(shown)) {
    for (const own of inputs(field)) {
      if (own instanceof HTMLInputElement && own.type === "checkbox") own.checked = value.includes(own.value) || own.disabled;
      else if (typeof value === "string") choose(own, value);
    }
  }
  describeSpace();
}

/** @param {HTMLInputElement | HTMLSelectElement} own @param {string} value */
function choose(own, value) {
  if (own instanceof HTMLSelectElement && !Array.from(own.options).some(option => option.value === value)) {
    own.add(new Option(value.startsWith("{") ? "as in the YAML" : value || "none", value));
  }
  own.value = value;
}

function describeSpace() {
  const space = inputs("space")[0].value;
  for (const own of document.querySelectorAll("[data-space]")) {
    if (own instanceof HTMLElement) own.hidden = own.dataset.space !== space;
  }
}

async function showYaml() {
  try {
    const written = await ask("/new/yaml", {method: "POST", body: {spec}});
    if (document.activeElement !== yaml) yaml.value = written.text;
    element("command").textContent = command(written.text, agreed.checked);
    element("command-note").hidden = typeof spec.corpus === "string";
  } catch (error) {
    complain(error);
  }
}

// --- looked at while it is written ---

function changed() {
  valid = false;
  clearTimeout(lookSoon);
  clearTimeout(foreseeSoon);
  verdict("wait", told.may ? "Looking …" : "Not looked at: that needs the scope write.");
  if (foreseen !== canonical(spec)) element("forecast").setAttribute("aria-busy", "true");
  lookSoon = window.setTimeout(look, LOOK_MS);
}

async function look() {
  void showYaml();
  if (!told.may) return;
  looking?.abort();
  looking = new AbortController();
  const own = canonical(spec);
  try {
    await api("/searches?validate_only=true", {method: "POST", body: {spec}, signal: looking.signal});
    if (own !== canonical(spec)) return;
    clear();
    valid = true;
    verdict("good", "The server would take it.");
    if (foreseen === own) element("forecast").removeAttribute("aria-busy");
    else foreseeSoon = window.setTimeout(foresee, FORESEE_MS - LOOK_MS);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    clear();
    complain(error);
  }
}

/** @param {"wait" | "good" | "bad"} kind @param {string} text */
function verdict(kind, text) {
  const own = element("verdict");
  own.dataset.kind = kind;
  if (own.textContent !== text) own.textContent = text;
}

function clear() {
  for (const own of form.querySelectorAll("[aria-invalid]")) own.removeAttribute("aria-invalid");
  for (const own of form.querySelectorAll(".wrong")) if (own instanceof HTMLElement) own.hidden = true;
  element("general").hidden = true;
}

/** Beside the field that it is about, or above all. @param {unknown} error */
function complain(error) {
  if (!(error instanceof Problem)) {
    verdict("bad", "The server does not answer; it is asked again when something changes.");
    return;
  }
  const about = error.field || (error.message.startsWith("corpus ") ? "corpus" : "");
  const field = fieldFor(about, told.fields);
  const first = field ? inputs(field)[0] : null;
  const place = field === "minimize" ? "f-minimize" : first?.id;
  const onYaml = !element("panel-yaml").hidden;
  if (onYaml) mark([yaml], "yaml", error.message);
  const bare = error.message.replace(`${error.field}: `, "");
  if (first && place) mark(field === "minimize" ? [] : [first], place, bare);
  if (!first && !onYaml) {
    element("general").textContent = error.message;
    element("general").hidden = false;
  }
  verdict("bad", first && !onYaml ? "One field is not right yet." : "It is not right yet.");
}

/** @param {HTMLElement[]} wrong @param {string} id @param {string} text */
function mark(wrong, id, text) {
  for (const own of wrong) own.setAttribute("aria-invalid", "true");
  const place = element(`${id}-wrong`);
  place.textContent = text;
  place.hidden = false;
}

// --- forecast ---

/** One at a time: it takes a worker some seconds. What has changed meanwhile is asked for afterwards. */
async function foresee() {
  clearTimeout(foreseeSoon);
  const own = canonical(spec);
  if (foreseeing || !valid) return;
  foreseeing = own;
  element("ask").setAttribute("aria-busy", "true");
  verdict("wait", "Forecasting …");
  try {
    const forecast = await api("/forecasts", {method: "POST", body: {spec}});
    if (own !== canonical(spec)) return;
    foreseen = own;
    element("profile").hidden = true;
    element("general").hidden = true;
    show(forecast);
    verdict("good", "The server would take it.");
  } catch (error) {
    if (own === canonical(spec)) unforeseen(error);
  } finally {
    foreseeing = "";
    element("ask").removeAttribute("aria-busy");
    if (own !== canonical(spec) && valid) foreseeSoon = window.setTimeout(foresee, FORESEE_MS);
  }
}

/** @param {any} forecast */
function show(forecast) {
  const at = (/** @type {number} */ seconds) => new Date(Date.now() + 1000 * seconds).toLocaleString([], {
    weekday: "short", hour: "2-digit", minute: "2-digit",
  });
  list("facts", facts(forecast, at));
  const more = remarks(forecast);
  list("notes", more);
  element("more").hidden = more.length === 0;
  const most = epochs(forecast);
  element("epochs").textContent = `here it would be ${times(most)}.`;
  element("consent").hidden = most <= told.consent;
  if (most <= told.consent) agreed.checked = false;
  element("forecast").hidden = false;
  element("forecast").removeAttribute("aria-busy");
}

/** @param {string} id @param {import("./form.js").Fact[]} found */
function list(id, found) {
  element(id).replaceChildren(...found.flatMap(own => {
    const term = document.createElement("dt"), place = document.createElement("dd");
    const value = document.createElement("strong"), detail = document.createElement("span");
    term.textContent = own.term;
    value.textContent = own.value;
    detail.textContent = own.detail;
    place.append(value, ...(own.detail ? [detail] : []));
    return [term, place];
  }));
}

/** There is no forecast. @param {unknown} error */
function unforeseen(error) {
  element("forecast").hidden = true;
  const unknown = error instanceof Problem && error.status === 409 && error.message.includes("/api/v1/profiles");
  element("profile").hidden = !unknown;
  if (unknown) return verdict("good", "The server would take it; there is no forecast before its device is known.");
  if (!(error instanceof Problem) || error.field || error.message.startsWith("corpus ")) return complain(error);
  if (error.status === 409) return verdict("good", `The server would take it; there is no forecast: ${error.message}.`);
  if (error.status === 429) return verdict("good", "The server would take it; it forecasts for others now: ask again soon.");
  if (error.status === 404) return verdict("good", "The server would take it; it gives no forecasts.");
  element("general").textContent = error.message;
  element("general").hidden = false;
  verdict("bad", error.status === 422 ? "It would end before it began." : "There is no forecast.");
}

async function profile() {
  const button = element("profile-now");
  button.setAttribute("aria-busy", "true");
  button.setAttribute("disabled", "");
  verdict("wait", "Measuring the device …");
  try {
    let job = await api("/profiles", {method: "POST", body: profileOf(spec)});
    while (job.state === "running") {
      await new Promise(resolve => setTimeout(resolve, PROFILE_MS));
      job = await api(`/profiles/${encodeURIComponent(job.id)}`);
    }
    if (job.state === "failed") throw new Problem(500, `the device could not be profiled: ${job.detail}`);
    element("profile").hidden = true;
    await foresee();
  } catch (error) {
    complain(error);
  } finally {
    button.removeAttribute("aria-busy");
    button.removeAttribute("disabled");
  }
}

// --- submitted once ---

async function submit() {
  const button = element("submit");
  if (button.getAttribute("aria-busy") === "true") return;
  if (unread) return verdict("bad", "The YAML cannot be read yet.");
  if (!element("consent").hidden && !agreed.checked) {
    verdict("bad", "The text would be read many times: agree to that first, or give less compute or more text.");
    agreed.focus();
    return;
  }
  const body = {spec, agreed: agreed.checked};
  if (sending.body !== canonical(body)) sending = {body: canonical(body), key: newKey()};
  button.setAttribute("aria-busy", "true");
  try {
    const made = await api("/searches", {method: "POST", body, headers: {"Idempotency-Key": sending.key}});
    location.assign(`/searches/${encodeURIComponent(made.id)}`);
  } catch (error) {
    clear();
    complain(error);
    if (!(error instanceof Problem)) verdict("bad", "The server did not answer. Submit again: it is taken once.");
    const wrong = form.querySelector("[aria-invalid]");
    if (wrong instanceof HTMLElement) wrong.focus();
    button.removeAttribute("aria-busy");
  }
}

function newKey() { // randomUUID is not there without TLS
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), own => own.toString(16).padStart(2, "0")).join("");
}

// --- texts ---

async function bring() {
  const button = element("bring-now"), said = element("bring-told");
  const sent = new FormData();
  sent.append("name", /** @type {HTMLInputElement} */ (element("b-name")).value.trim());
  for (const split of ["train", "validation", "test"]) {
    for (const file of /** @type {HTMLInputElement} */ (element(`b-${split}`)).files ?? []) sent.append(split, file);
  }
  button.setAttribute("aria-busy", "true");
  said.textContent = "Bringing them …";
  try {
    const found = await api("/corpora", {method: "POST", body: sent});
    const select = inputs("corpus")[0];
    const value = typeof found.reference === "string" ? found.reference : canonical(found.reference);
    if (select instanceof HTMLSelectElement && !Array.from(select.options).some(own => own.value === value)) {
      select.add(new Option(found.name, value));
    }
    select.value = value;
    said.textContent = `${found.name} is there, and chosen.`;
    read();
  } catch (error) {
    said.textContent = error instanceof Problem ? error.message : "The server does not answer.";
  } finally {
    button.removeAttribute("aria-busy");
  }
}

// --- what people do ---

/** The form has changed. */
function read() {
  unread = false;
  spec = specOf(spec, values(), told.numbers);
  describeSpace();
  history.replaceState(null, "", location.pathname + address(start, valuesOf(spec, told.fields), origin) + location.hash);
  changed();
}

let readSoon = 0;

/** The YAML has changed. */
function readYaml() {
  valid = false;
  unread = true;
  clearTimeout(readSoon);
  verdict("wait", "Reading …");
  readSoon = window.setTimeout(async () => {
    const text = yaml.value;
    try {
      const found = await ask("/new/spec", {method: "POST", body: {text}});
      if (text !== yaml.value) return;
      spec = found.spec;
      unread = false;
      fill();
      clear();
      history.replaceState(null, "", location.pathname + address(start, valuesOf(spec, told.fields), origin) + location.hash);
      changed();
    } catch (error) {
      if (text !== yaml.value) return;
      clear();
      complain(error);
    }
  }, LOOK_MS);
}

/** @param {string} name of a tab */
function turn(name) {
  for (const own of ["form", "yaml"]) {
    const tab = element(`tab-${own}`);
    tab.setAttribute("aria-selected", String(own === name));
    tab.tabIndex = own === name ? 0 : -1;
    element(`panel-${own}`).hidden = own !== name;
  }
  history.replaceState(null, "", location.pathname + location.search + (name === "yaml" ? "#yaml" : ""));
  if (name === "yaml" && valid) void showYaml();
}

for (const name of ["form", "yaml"]) {
  element(`tab-${name}`).addEventListener("click", () => turn(name));
  element(`tab-${name}`).addEventListener("keydown", event => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = name === "form" ? "yaml" : "form";
    turn(other);
    element(`tab-${other}`).focus();
  });
}
form.addEventListener("input", event => {
  if (event.target === yaml) readYaml();
  else if (event.target === agreed) void showYaml();
  else if (event.target instanceof HTMLElement && event.target.hasAttribute("name")) read();
});
form.addEventListener("submit", event => {
  event.preventDefault();
  if (told.may) void submit();
});
document.getElementById("ask")?.addEventListener("click", () => void foresee());
document.getElementById("profile-now")?.addEventListener("click", () => void profile());
document.getElementById("bring-now")?.addEventListener("click", () => void bring());
element("copy").addEventListener("click", async () => {
  const text = element("command").textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch { // not there without TLS
    getSelection()?.selectAllChildren(element("command"));
    say("Marked: copy it by the keyboard.");
  }
});
if (location.hash === "#yaml") turn("yaml");
fill();
changed();
