import assert from "node:assert/strict";
import test from "node:test";
import {isEmpty, traces} from "../../../dashboards/static/curve.js";

const NONE = {x: [], y: []};
const FRAME = {data: ["training", "rungs", "final", "end"].map(name => ({name, mode: "lines"})), layout: {}};
const CURVE = {train: {x: [1, 2], y: [3, 2]}, rungs: {x: [2], y: [2.5]}, final: NONE};

test("a frame and columns are traces, and the frame stays as it is", () => {
  const before = structuredClone(FRAME);
  assert.deepEqual(traces(FRAME, CURVE, {x: [2], y: [2.5]}), [
    {name: "training", mode: "lines", x: [1, 2], y: [3, 2]},
    {name: "rungs", mode: "lines", x: [2], y: [2.5]},
    {name: "final", mode: "lines", x: [], y: []},
    {name: "end", mode: "lines", x: [2], y: [2.5]},
  ]);
  assert.deepEqual(FRAME, before);
});

test("a curve is empty when nothing of it is there", () => {
  assert.equal(isEmpty(CURVE), false);
  assert.equal(isEmpty({train: NONE, rungs: NONE, final: NONE}), true);
  assert.equal(isEmpty({train: NONE, rungs: NONE, final: {x: [1], y: [1]}}), false);
});
