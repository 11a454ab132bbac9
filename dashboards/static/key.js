// @ts-check
// The key of the front's figure: what its marks mean, and buttons that take groups of them away.
import {element} from "./elements.js";

/** @typedef {import("./state.js").State} State */
/** ``group``: of traces that a button takes away; none for "". @typedef {{group: string, name: string, colour: string, sign: string}} Entry */

/** Signs of what is drawn. @param {State} state @param {() => void} toggled */
export function showKey(state, toggled) {
  const entries = entriesOf(state);
  const place = element("keys");
  const now = JSON.stringify(entries.map(own => own.name));
  if (place.dataset.now === now) return;
  place.dataset.now = now;
  place.replaceChildren(...entries.map(own => item(own, state, toggled)));
}

/** @param {State} state @returns {Entry[]} */
function entriesOf({scene: {parts}, found, columns, words, given}) {
  const entries = [];
  const stands = Object.entries(words.standings).filter(([name]) =>
    name === "front" ? found.front.length : parts.has(name) || parts.has(`${name} row`));
  for (const [name, own] of stands) {
    entries.push({group: name, name: name === "final" ? "final run, test loss" : own.name, colour: own.colour, sign: own.sign});
  }
  const style = /** @param {string} meta */ meta => given.frame.data.find(trace => trace.meta === meta)?.marker;
  if (parts.has("audited")) entries.push({group: "audited", name: "stop audited", colour: style("audited").line.color, sign: "circle-open"});
  if (found.knee >= 0) entries.push({group: "knee", name: "knee", colour: style("knee").line.color, sign: "diamond-open"});
  const origins = new Set((parts.get("dominated")?.rows ?? []).map(row => columns.origin[row]));
  for (const [name, told] of Object.entries(words.origins)) {
    if (origins.has(name)) entries.push({group: "", name: told, colour: "#808080", sign: `${words.shapes[name]}-open`});
  }
  return entries;
}

/** @param {Entry} entry @param {State} state @param {() => void} toggled */
function item({group, name, colour, sign}, {words, hidden}, toggled) {
  const own = document.createElement("li");
  const icon = glyph(words.glyphs[sign.replace("-open", "")], colour, sign.endsWith("-open"));
  if (!group) {
    own.append(icon, name);
    return own;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", String(!hidden.has(group)));
  button.append(icon, name);
  button.addEventListener("click", () => {
    if (hidden.has(group)) hidden.delete(group);
    else hidden.add(group);
    button.setAttribute("aria-pressed", String(!hidden.has(group)));
    toggled();
  });
  own.append(button);
  return own;
}

/** @param {string} outline @param {string} colour @param {boolean} open */
function glyph(outline, colour, open) {
  const space = "http://www.w3.org/2000/svg";
  const icon = document.createElementNS(space, "svg");
  for (const [attribute, value] of Object.entries({viewBox: "-9 -9 18 18", width: "16", height: "16", "aria-hidden": "true"})) {
    icon.setAttribute(attribute, value);
  }
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", outline);
  path.setAttribute("fill", open ? "none" : colour);
  path.setAttribute("stroke", colour);
  path.setAttribute("stroke-width", "2");
  icon.append(path);
  return icon;
}
