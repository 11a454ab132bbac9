import assert from "node:assert/strict";
import test from "node:test";
import {State} from "../../../dashboards/static/state.js";
import {fillMoving, fillPlaces, moves} from "../../../dashboards/static/traces.js";
import {OBJECTIVES, ROWS, WORDS, columns} from "./front.mjs";

/** The bars of a trace, [along x, along y], as they are drawn; null where they are not. */
function bars(part, query, rows = ROWS) {
  const style = {color: "red"};
  const trace = {meta: part, legendgroup: part, marker: {}, error_y: style};
  const given = {search: "s", objectives: OBJECTIVES, event: 0, frame: {data: [trace], layout: {}}};
  const state = new State(given, WORDS, new URLSearchParams(query), {columns: columns(rows)});
  state.find();
  state.place();
  if (moves(trace)) fillMoving(state, [trace]);
  else fillPlaces(state, [trace], state.scene.parts);
  assert.ok([trace.error_x, trace.error_y].every(own => own.color === "red"), "the frame's style stays");
  return [trace.error_x, trace.error_y].map(own => (own.visible ? own.array : null));
}

const NO_ERROR = [["completed", 2, 5, 5], ["completed", 1.5, 10, 1, {origin: "final", test: 1.9}]];

//   part     axes                            along x         along y
const BARS = [
  ["front", "", null, [0.01, 0.01, 0.01]],
  ["final", "", null, [0.02]], // of the test split, where its mark stands
  ["front", "x=val_bpb&y=params", [0.01, 0.01, 0.01], null],
  ["final", "x=val_bpb&y=params", [0.02], null],
  ["front", "x=params&y=flops_per_byte", null, null],
  ["final", "x=params&y=flops_per_byte", null, null],
];
for (const [part, query, x, y] of BARS) {
  test(`bars of the ${part} in ?${query}`, () => assert.deepEqual(bars(part, query), [x, y]));
}

test("no bar without an error, and none of nothing", () => {
  assert.deepEqual(bars("final", "", NO_ERROR), [null, null]);
  assert.deepEqual(bars("final", "", ROWS.slice(0, 3)), [null, null]);
});
