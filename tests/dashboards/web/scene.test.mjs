import assert from "node:assert/strict";
import test from "node:test";
import {Columns} from "../../../dashboards/static/columns.js";
import * as scene from "../../../dashboards/static/scene.js";

const OBJECTIVES = ["val_bpb", "flops_per_byte", "params"];
const quantity = (name, format) => ({name, unit: "", axis: name, source: "calculated", format, ticks: "~s"});
const WORDS = {
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
function columns(rows) {
  const own = new Columns();
  own.merge({
    revision: 1,
    number: rows.map((_, place) => 10 + place),
    state: rows.map(([state]) => state),
    origin: rows.map(([, , , , more]) => more?.origin ?? "proposed"),
    val_bpb: rows.map(([, loss]) => loss),
    val_error: rows.map(() => 0.01),
    test_bpb: rows.map(([, , , , more]) => more?.test ?? null),
    last_bpb: rows.map(([, , , , more]) => more?.last ?? null),
    flops: rows.map(() => 5),
    audited: rows.map(([, , , , more]) => more?.audited ?? false),
    costs: {flops_per_byte: rows.map(([, , flops]) => flops), params: rows.map(([, , , params]) => params)},
  });
  return own;
}

const ROWS = [
  ["completed", 2.0, 100, 9],
  ["completed", 2.5, 50, 9],
  ["completed", 2.4, 100, 9], // dominated by the first
  ["completed", 2.6, 60, 3], // on the front for its parameters
  ["stopped", null, 70, 5, {last: 2.7}],
  ["stopped", null, 70, 5, {last: 9}], // would squeeze the front
  ["rejected", null, 900, 90],
  ["training", null, 80, 6],
  ["completed", 1.5, 10, 1, {origin: "final", test: 1.9}],
  ["diverged", null, null, null],
];
const choose = (query = "") => scene.readChoice(new URLSearchParams(query), OBJECTIVES, WORDS.quantities);
const numbers = (own, rows) => rows.map(row => own.number[row]);

test("the front is of those trained to the end, without the final run", () => {
  const own = columns(ROWS);
  const found = scene.find(own, OBJECTIVES, {}, WORDS.outcomes);
  assert.equal(found.trained, 4);
  assert.deepEqual(numbers(own, found.front), [11, 13, 10]); // the cheapest first
  assert.equal(own.number[found.best], 10);
  assert.ok(found.front.includes(found.knee));
});

test("two members have no knee", () => {
  assert.equal(scene.find(columns(ROWS.slice(0, 2)), OBJECTIVES, {}, WORDS.outcomes).knee, -1);
});

test("within limits another is best, and what is as dear as the limit is within", () => {
  const own = columns(ROWS);
  const found = scene.find(own, OBJECTIVES, {flops_per_byte: 60}, WORDS.outcomes);
  assert.deepEqual(numbers(own, found.within), [11, 13]);
  assert.equal(own.number[found.best], 11);
  const none = scene.find(own, OBJECTIVES, {flops_per_byte: 60, params: 2}, WORDS.outcomes);
  assert.deepEqual([none.within, none.front, none.best, none.trained], [[], [], -1, 4]);
});

test("of two as good the first is named", () => {
  const own = columns([["completed", 2, 5, 5], ["completed", 2, 5, 5]]);
  const found = scene.find(own, OBJECTIVES, {}, WORDS.outcomes);
  assert.deepEqual([found.best, found.front], [0, [0, 1]]);
});

test("what lacks an objective is not on the front", () => {
  const own = columns([["completed", 2, null, 5], ["completed", 3, 5, 5]]);
  assert.deepEqual(scene.find(own, OBJECTIVES, {}, WORDS.outcomes).front, [1]);
});

test("everybody with the cost has one place", () => {
  const own = columns(ROWS);
  const made = scene.place(own, choose(), WORDS);
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
  const made = scene.place(columns([["completed", 2, 5, 5, {audited: true}]]), choose(), WORDS);
  assert.deepEqual([...made.parts.keys()], ["dominated", "audited"]);
});

test("without a loss on an axis all have a place; with the loss across, only those with one", () => {
  const costs = scene.place(columns(ROWS), choose("x=params&y=flops_per_byte"), WORDS);
  assert.deepEqual([costs.rows, costs.hidden], [[], 1]);
  const across = scene.place(columns(ROWS), choose("x=val_bpb&y=params"), WORDS);
  assert.deepEqual([across.rows, across.hidden], [[], 4]);
});

test("nothing has a place where nothing is", () => {
  const made = scene.place(new Columns(), choose(), WORDS);
  assert.deepEqual([made.parts.size, made.hidden], [0, 0]);
  assert.deepEqual(scene.wholeRange(made.x, true, 0.1), [0, 1]);
});

test("the line steps along the two that are drawn", () => {
  const own = columns(ROWS);
  const {front} = scene.find(own, OBJECTIVES, {}, WORDS.outcomes);
  assert.deepEqual(scene.stepLine(own, front, choose()), {x: [50, 100], y: [2.5, 2.0]});
});

const LINKS = [
  ["", ""],
  ["x=params", "x=params"],
  ["x=flops_per_byte&y=val_bpb&front=&log=1", ""],
  ["x=val_bpb", "x=val_bpb"],
  ["x=val_bpb&y=params&front=flops_per_byte&log=0", "x=val_bpb&y=params&front=flops_per_byte&log=0"],
  ["front=axes&max.params=1200000&max.flops_per_byte=4e5", "front=axes&max.params=1200000&max.flops_per_byte=400000"],
  ["zoom=1,2,3.5,4", "zoom=1%2C2%2C3.5%2C4"],
  ["x=nonsense&y=test_bpb&front=params2&max.nothing=3&max.params=-1&max.val_bpb=2&zoom=1,2,2,1", ""],
  ["x=params&y=params", "x=params"],
  ["x=params&front=params", "x=params"],
  ["x=__proto__&max.constructor=3", ""],
  ["state=stopped&c=1&c=2&max.params=5", "state=stopped&c=1&c=2&max.params=5"],
];
for (const [query, again] of LINKS) {
  test(`the choice of ?${query}`, () => {
    const choice = choose(query);
    const kept = new URLSearchParams([...new URLSearchParams(query)].filter(([name]) => ["state", "c"].includes(name)));
    const written = scene.writeChoice(choice, kept, OBJECTIVES);
    assert.equal(String(written), again);
    assert.deepEqual(scene.readChoice(written, OBJECTIVES, WORDS.quantities), choice);
  });
}

test("a limit that was lifted is not in the address any more", () => {
  const written = scene.writeChoice(choose(), new URLSearchParams("max.params=5&zoom=1,2,3,4&log=0"), OBJECTIVES);
  assert.equal(String(written), "");
});

test("what counts as the front", () => {
  assert.deepEqual(scene.objectivesOf(choose(), OBJECTIVES), OBJECTIVES);
  assert.deepEqual(scene.objectivesOf(choose("front=axes"), OBJECTIVES), ["flops_per_byte", "val_bpb"]);
  assert.deepEqual(scene.objectivesOf(choose("front=params"), OBJECTIVES), ["flops_per_byte", "val_bpb", "params"]);
});

function crowd(size) {
  const rows = [...Array(size).keys()];
  return new Map([["dominated", {rows, x: rows.map(own => 1 + (own % 97)), y: rows.map(own => 1 + (own % 89))}]]);
}
const VIEW = {x: [0, 100], y: [0, 100], logX: false, logY: false, width: 800, height: 400};

test("few are all drawn; of many, one for those that would cover each other", () => {
  const few = scene.thin(crowd(50), VIEW, () => "", 1000);
  assert.deepEqual([few.drawn, few.candidates], [50, 50]);
  const many = scene.thin(crowd(20000), VIEW, () => "", 1000);
  assert.equal(many.candidates, 20000);
  assert.ok(many.drawn <= 1000 && many.drawn > 200);
  const {rows, x, y} = many.parts.get("dominated");
  rows.forEach((row, at) => assert.deepEqual([x[at], y[at]], [1 + (row % 97), 1 + (row % 89)]));
});

test("what looks different is not covered by another", () => {
  const same = new Map([["dominated", {rows: [0, 1, 2], x: [5, 5, 5], y: [5, 5, 5]}]]);
  assert.equal(scene.thin(same, VIEW, (_, row) => (row === 2 ? "dial" : "proposed"), 10).drawn, 2);
});

test("out of sight is not drawn; closer, more are", () => {
  const far = scene.thin(crowd(5000), VIEW, () => "", 400);
  const near = scene.thin(crowd(5000), {...VIEW, x: [10, 20], y: [10, 20]}, () => "", 400);
  assert.ok(near.candidates < 100 && near.drawn === near.candidates);
  assert.ok(far.drawn < far.candidates);
});

test("the best in words", () => {
  const own = columns(ROWS);
  const said = limits => {
    const {before, number, after} = scene.bestSentence(own, scene.find(own, OBJECTIVES, limits, WORDS.outcomes), limits, WORDS);
    return `${before}${number === null ? "" : `#${number}`}${after}`;
  };
  assert.equal(said({}), "The best of 4 models trained to the end is #10: 2.000 ± 0.010 bits per byte; parameters 9, forward compute 100 FLOP.");
  assert.equal(
    said({params: 3}),
    "Within the limits (1 of 4 models), the best is #13: 2.600 ± 0.010 bits per byte; parameters 3, forward compute 60 FLOP.");
  assert.equal(
    said({params: 2, flops_per_byte: 55}),
    "None of the 4 models trained to the end has parameters of at most 2 and forward compute of at most 55 FLOP. Loosen a limit.");
});

test("titles", () => {
  const of = (rows, limits) => scene.title(scene.find(columns(rows), OBJECTIVES, limits, WORDS.outcomes), OBJECTIVES, limits, WORDS);
  assert.equal(of([], {}), "No candidate has been trained to the end yet");
  assert.equal(of(ROWS, {}), "3 of 4 candidates trained to the end are on the front of loss, forward compute and parameters");
  assert.equal(of(ROWS, {params: 3}), "1 of 1 within the limits is on the front of loss, forward compute and parameters");
  assert.equal(of(ROWS, {params: 1}), "No model is within the limits");
});

test("all attributes of one that is pointed at", () => {
  const own = columns(ROWS);
  assert.deepEqual(scene.attributes(own, 4, "stopped", WORDS), [
    "#14 stopped", "proposed by search", "2.700 bits per byte before the stop", "parameters: 5 (calculated)",
    "forward compute: 70 FLOP (calculated)", "trained and evaluated with 5 FLOP",
  ]);
});
