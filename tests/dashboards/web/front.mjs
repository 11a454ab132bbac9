// A small front for tests of what is computed of it.
import {readChoice} from "../../../dashboards/static/choice.js";
import {Columns} from "../../../dashboards/static/columns.js";

export const OBJECTIVES = ["val_bpb", "flops_per_byte", "params"];
const quantity = (name, format) => ({name, unit: "", axis: name, source: "calculated", format, ticks: "~s"});
export const WORDS = {
  quantities: {
    val_bpb: quantity("validation loss", "loss"),
    test_bpb: quantity("test loss", "loss"),
    params: quantity("parameters", "count"),
    flops_per_byte: quantity("forward compute", "flops"),
  },
  origins: {proposed: "proposed by search", final: "final run"},
  shapes: {},
  standings: Object.fromEntries(
    ["front", "dominated", "stopped", "rejected", "diverged", "final", "open", "lost"].map(name => [name, {name, short: name}])),
  outcomes: {
    completed: "dominated", stopped: "stopped", rejected: "rejected", diverged: "diverged", queued: "open", training: "open",
    failed: "lost", cancelled: "lost",
  },
  glyphs: {},
};

/** Columns of [state, loss, flops, params, more]. */
export function columns(rows) {
  const own = new Columns();
  own.merge({
    revision: 1,
    number: rows.map((_, place) => 10 + place),
    state: rows.map(([state]) => state),
    origin: rows.map(([, , , , more]) => more?.origin ?? "proposed"),
    val_bpb: rows.map(([, loss]) => loss),
    val_error: rows.map(() => 0.01),
    test_bpb: rows.map(([, , , , more]) => more?.test ?? null),
    test_error: rows.map(([, , , , more]) => more?.testError ?? null),
    last_bpb: rows.map(([, , , , more]) => more?.last ?? null),
    flops: rows.map(() => 5),
    audited: rows.map(([, , , , more]) => more?.audited ?? false),
    costs: {flops_per_byte: rows.map(([, , flops]) => flops), params: rows.map(([, , , params]) => params)},
  });
  return own;
}

export const ROWS = [
  ["completed", 2.0, 100, 9],
  ["completed", 2.5, 50, 9],
  ["completed", 2.4, 100, 9], // dominated by the first
  ["completed", 2.6, 60, 3], // on the front for its parameters
  ["stopped", null, 70, 5, {last: 2.7}],
  ["stopped", null, 70, 5, {last: 9}], // would squeeze the front
  ["rejected", null, 900, 90],
  ["training", null, 80, 6],
  ["completed", 1.5, 10, 1, {origin: "final", test: 1.9, testError: 0.02}],
  ["diverged", null, null, null],
];
export const choose = (query = "") => readChoice(new URLSearchParams(query), OBJECTIVES, WORDS.quantities);
