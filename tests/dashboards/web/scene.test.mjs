import assert from "node:assert/strict";
import test from "node:test";
import {wholeRange} from "../../../dashboards/static/axes.js";
import {Columns} from "../../../dashboards/static/columns.js";
import {find, place, stepLine} from "../../../dashboards/static/scene.js";
import {OBJECTIVES, ROWS, WORDS, choose, columns} from "./front.mjs";

const numbers = (own, rows) => rows.map(row => own.number[row]);

test("the front is of those trained to the end, without the final run", () => {
  const own = columns(ROWS);
  const found = find(own, OBJECTIVES, {}, WORDS.outcomes);
  assert.equal(found.trained, 4);
  assert.deepEqual(numbers(own, found.front), [11, 13, 10]); // the cheapest first
  assert.equal(own.number[found.best], 10);
  assert.ok(found.front.includes(found.knee));
});

test("two members have no knee", () => {
  assert.equal(find(columns(ROWS.slice(0, 2)), OBJECTIVES, {}, WORDS.outcomes).knee, -1);
});

test("within limits another is best, and what is as dear as the limit is within", () => {
  const own = columns(ROWS);
  const found = find(own, OBJECTIVES, {flops_per_byte: 60}, WORDS.outcomes);
  assert.deepEqual(numbers(own, found.within), [11, 13]);
  assert.equal(own.number[found.best], 11);
  const none = find(own, OBJECTIVES, {flops_per_byte: 60, params: 2}, WORDS.outcomes);
  assert.deepEqual([none.within, none.front, none.best, none.trained], [[], [], -1, 4]);
});

test("of two as good the first is named", () => {
  const own = columns([["completed", 2, 5, 5], ["completed", 2, 5, 5]]);
  const found = find(own, OBJECTIVES, {}, WORDS.outcomes);
  assert.deepEqual([found.best, found.front], [0, [0, 1]]);
});

test("what lacks an objective is not on the front", () => {
  const own = columns([["completed", 2, null, 5], ["completed", 3, 5, 5]]);
  assert.deepEqual(find(own, OBJECTIVES, {}, WORDS.outcomes).front, [1]);
});

test("everybody with the cost has one place", () => {
  const own = columns(ROWS);
  const made = place(own, choose(), WORDS);
  const placed = Object.fromEntries([...made.parts].map(([name, part]) => [name, numbers(own, part.rows)]));
  assert.deepEqual(placed, {
    dominated: [10, 11, 12, 13], stopped: [14], "stopped row": [15], "rejected row": [16], "open row": [17], final: [18],
  });
  assert.deepEqual(made.rows, ["stopped", "rejected", "open"]);
  assert.equal(made.hidden, 1);
  assert.deepEqual(made.parts.get("final").y, [1.9]); // on the test split
  assert.deepEqual(made.parts.get("rejected row").y, [1]);
  assert.deepEqual([made.x, made.y], [[10, 900], [1.9, 2.7]]);
});

test("an audited one has a ring besides its mark", () => {
  const made = place(columns([["completed", 2, 5, 5, {audited: true}]]), choose(), WORDS);
  assert.deepEqual([...made.parts.keys()], ["dominated", "audited"]);
});

test("without a loss on an axis all have a place; with the loss across, only those with one", () => {
  const costs = place(columns(ROWS), choose("x=params&y=flops_per_byte"), WORDS);
  assert.deepEqual([costs.rows, costs.hidden], [[], 1]);
  const across = place(columns(ROWS), choose("x=val_bpb&y=params"), WORDS);
  assert.deepEqual([across.rows, across.hidden], [[], 4]);
});

test("nothing has a place where nothing is", () => {
  const made = place(new Columns(), choose(), WORDS);
  assert.deepEqual([made.parts.size, made.hidden], [0, 0]);
  assert.deepEqual(wholeRange(made.x, true, 0.1), [0, 1]);
});

test("the line steps along the two that are drawn", () => {
  const own = columns(ROWS);
  const {front} = find(own, OBJECTIVES, {}, WORDS.outcomes);
  assert.deepEqual(stepLine(own, front, choose()), {x: [50, 100], y: [2.5, 2.0]});
});
