import assert from "node:assert/strict";
import test from "node:test";
import {thin} from "../../../dashboards/static/thin.js";

function crowd(size) {
  const rows = [...Array(size).keys()];
  return new Map([["dominated", {rows, x: rows.map(own => 1 + (own % 97)), y: rows.map(own => 1 + (own % 89))}]]);
}
const VIEW = {x: [0, 100], y: [0, 100], logX: false, logY: false, width: 800, height: 400};

test("few are all drawn; of many, one for those that would cover each other", () => {
  const few = thin(crowd(50), VIEW, () => "", 1000);
  assert.deepEqual([few.drawn, few.candidates], [50, 50]);
  const many = thin(crowd(20000), VIEW, () => "", 1000);
  assert.equal(many.candidates, 20000);
  assert.ok(many.drawn <= 1000 && many.drawn > 200);
  const {rows, x, y} = many.parts.get("dominated");
  rows.forEach((row, at) => assert.deepEqual([x[at], y[at]], [1 + (row % 97), 1 + (row % 89)]));
});

test("what looks different is not covered by another", () => {
  const same = new Map([["dominated", {rows: [0, 1, 2], x: [5, 5, 5], y: [5, 5, 5]}]]);
  assert.equal(thin(same, VIEW, (_, row) => (row === 2 ? "dial" : "proposed"), 10).drawn, 2);
});

test("out of sight is not drawn; closer, more are", () => {
  const far = thin(crowd(5000), VIEW, () => "", 400);
  const near = thin(crowd(5000), {...VIEW, x: [10, 20], y: [10, 20]}, () => "", 400);
  assert.ok(near.candidates < 100 && near.drawn === near.candidates);
  assert.ok(far.drawn < far.candidates);
});
