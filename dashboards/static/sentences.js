// @ts-check
// What the front's page says in words. No page in here.
import {LOSS} from "./choice.js";
import {format, withError} from "./units.js";

/** @typedef {import("./columns.js").Columns} Columns */
/** @typedef {import("./scene.js").Found} Found */
/** @typedef {import("./state.js").State} State */
/** @typedef {import("./scene.js").Words} Words */

/**
 * All that the columns know of a candidate, in lines.
 * @param {Columns} columns @param {number} row @param {string} stand @param {Words} words
 */
export function attributes(columns, row, stand, words) {
  const lines = [
    `#${columns.number[row]} ${words.standings[stand].name}${columns.audited[row] ? ", stop audited" : ""}`,
    words.origins[columns.origin[row]],
  ];
  if (columns.val_bpb[row] !== null) {
    lines.push(`validation ${withError(columns.val_bpb[row], columns.val_error[row])} bits per byte`);
  }
  if (columns.test_bpb[row] !== null) lines.push(`test ${withError(columns.test_bpb[row], columns.test_error[row])} bits per byte`);
  if (columns.last_bpb[row] !== null) lines.push(`${format("loss", columns.last_bpb[row])} bits per byte before the stop`);
  for (const [name, own] of Object.entries(words.quantities)) {
    const value = name in columns.costs ? columns.costs[name][row] : null;
    if (value !== null) lines.push(`${own.name}: ${format(own.format, value)} (${own.source})`);
  }
  if (columns.flops[row]) lines.push(`trained and evaluated with ${format("flops", columns.flops[row])}`);
  return lines;
}

/** ``a, b and c``. @param {string[]} parts */
export function listed(parts) {
  return parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}`;
}

/**
 * The figure's title: how many are on the front of what.
 * @param {Found} found @param {string[]} objectives @param {Record<string, number>} limits @param {Words} words
 */
export function title(found, objectives, limits, words) {
  if (!found.trained) return "No candidate has been trained to the end yet";
  const names = objectives.map(name => (name === LOSS ? "loss" : words.quantities[name].name));
  const limited = Object.keys(limits).length > 0;
  if (limited && !found.within.length) return "No model is within the limits";
  const of = limited ? `${found.within.length} within the limits` : `${found.trained} candidates trained to the end`;
  const verb = found.front.length === 1 ? "is" : "are";
  return `${found.front.length} of ${of} ${verb} on the front of ${listed(names)}`;
}

/**
 * The best model within the limits, around its link.
 * @param {Columns} columns @param {Found} found @param {Record<string, number>} limits @param {Words} words
 * @returns {{before: string, number: number | null, after: string}}
 */
export function bestSentence(columns, found, limits, words) {
  const names = Object.keys(limits);
  if (!found.trained) return {before: "", number: null, after: ""};
  if (found.best < 0) {
    const bounds = names.map(name => `${words.quantities[name].name} of at most ${format(words.quantities[name].format, limits[name])}`);
    return {
      before: `None of the ${found.trained} models trained to the end has ${listed(bounds)}. Loosen a limit.`,
      number: null,
      after: "",
    };
  }
  const row = found.best;
  const costs = Object.entries(words.quantities)
    .filter(([name]) => name in columns.costs && columns.costs[name][row] !== null)
    .map(([name, own]) => `${own.name} ${format(own.format, columns.costs[name][row])}`);
  const where = names.length
    ? `Within the limits (${found.within.length} of ${found.trained} models), the best is `
    : `The best of ${found.trained === 1 ? "1 model" : `${found.trained} models`} trained to the end is `;
  const loss = `: ${withError(columns.val_bpb[row], columns.val_error[row])} bits per byte`;
  return {before: where, number: columns.number[row], after: `${loss}${costs.length ? `; ${costs.join(", ")}` : ""}.`};
}

/**
 * Why a reader may want a member of the front.
 * @param {Columns} columns @param {Found} found @param {number} row
 */
export function remark(columns, found, row) {
  const notes = [];
  if (found.best === row) notes.push("lowest loss");
  if (found.front.length > 1 && found.front[0] === row) notes.push("cheapest");
  if (found.knee === row) notes.push("knee");
  return notes.join(", ");
}

/**
 * What the figure's caption says.
 * @param {State} state @param {{marks: number, candidates: number}} painted how many marks for how many candidates in sight
 * @param {boolean} coarse where no box can be dragged
 */
export function captionLines({choice, columns, found, objectives, quantities, scene}, {marks, candidates}, coarse) {
  const {hidden: without, parts} = scene;
  const lossy = choice.x === LOSS || choice.y === LOSS;
  const lines = ["Each mark is a candidate: further left and lower are better."];
  const bars = found.front.some(row => columns.val_error[row] !== null)
    || parts.get("final")?.rows.some(row => columns.test_error[row] !== null);
  if (lossy && bars) lines.push("Bars are one standard error.");
  if (candidates > marks) {
    lines.push(`Of ${candidates} candidates, ${marks} are drawn: one for those that would cover each other.${coarse ? "" : " Drag a box to look closer."}`);
  }
  if (objectives.length > 2) lines.push("Members above the line are on the front for what they save elsewhere.");
  if (lossy && parts.has("stopped")) lines.push("Crosses stand at the last loss before the stop, which more training would have lowered.");
  if (lossy && parts.has("final")) lines.push("The final run had a budget of its own and is judged on the test split.");
  if (without) lines.push(`${without} without a value on both axes ${without === 1 ? "is" : "are"} not drawn.`);
  const sources = [choice.x, choice.y].map(name => `${quantities[name].name}: ${quantities[name].source}`).join("; ");
  lines.push(`${sources[0].toUpperCase()}${sources.slice(1)}.`);
  return lines;
}
