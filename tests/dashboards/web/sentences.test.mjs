import assert from "node:assert/strict";
import test from "node:test";
import {find} from "../../../dashboards/static/scene.js";
import {attributes, bestSentence, captionLines, title} from "../../../dashboards/static/sentences.js";
import {State} from "../../../dashboards/static/state.js";
import {OBJECTIVES, ROWS, WORDS, columns} from "./front.mjs";

test("the best in words", () => {
  const own = columns(ROWS);
  const said = limits => {
    const {before, number, after} = bestSentence(own, find(own, OBJECTIVES, limits, WORDS.outcomes), limits, WORDS);
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
  const of = (rows, limits) => title(find(columns(rows), OBJECTIVES, limits, WORDS.outcomes), OBJECTIVES, limits, WORDS);
  assert.equal(of([], {}), "No candidate has been trained to the end yet");
  assert.equal(of(ROWS, {}), "3 of 4 candidates trained to the end are on the front of loss, forward compute and parameters");
  assert.equal(of(ROWS, {params: 3}), "1 of 1 within the limits is on the front of loss, forward compute and parameters");
  assert.equal(of(ROWS, {params: 1}), "No model is within the limits");
});

test("all attributes of one that is pointed at", () => {
  const own = columns(ROWS);
  assert.deepEqual(attributes(own, 4, "stopped", WORDS), [
    "#14 stopped", "proposed by search", "2.700 bits per byte before the stop", "parameters: 5 (calculated)",
    "forward compute: 70 FLOP (calculated)", "trained and evaluated with 5 FLOP",
  ]);
  assert.equal(attributes(own, 8, "final", WORDS)[3], "test 1.900 ± 0.020 bits per byte");
});

test("a caption explains what is in the figure, and no more", () => {
  const lines = (query, rows, painted, coarse) => {
    const given = {search: "s", objectives: OBJECTIVES, event: 0, frame: {data: [], layout: {}}};
    const state = new State(given, WORDS, new URLSearchParams(query), {columns: columns(rows)});
    state.find();
    state.place();
    return captionLines(state, painted, coarse);
  };
  const all = lines("", ROWS, {marks: 5, candidates: 9}, false);
  assert.equal(all.length, 8);
  assert.equal(all[2], "Of 9 candidates, 5 are drawn: one for those that would cover each other. Drag a box to look closer.");
  assert.equal(all[6], "1 without a value on both axes is not drawn.");
  assert.equal(all[7], "Forward compute: calculated; validation loss: calculated.");
  assert.ok(!lines("", ROWS, {marks: 5, candidates: 9}, true)[2].includes("Drag"));
  assert.deepEqual(lines("x=params&y=flops_per_byte&front=axes", ROWS.slice(0, 2), {marks: 2, candidates: 2}, false), [
    "Each mark is a candidate: further left and lower are better.", "Parameters: calculated; forward compute: calculated.",
  ]);
});

test("bars are explained where there are some", () => {
  const said = (rows, query = "") => {
    const given = {search: "s", objectives: OBJECTIVES, event: 0, frame: {data: [], layout: {}}};
    const own = columns(rows);
    own.val_error = rows.map(() => null);
    const state = new State(given, WORDS, new URLSearchParams(query), {columns: own});
    state.find();
    state.place();
    return captionLines(state, {marks: 1, candidates: 1}, false).includes("Bars are one standard error.");
  };
  const final = {origin: "final", test: 1.9};
  assert.equal(said([["completed", 2, 5, 5, {...final, testError: 0.02}]]), true);
  assert.equal(said([["completed", 2, 5, 5, {...final, testError: 0.02}]], "x=params&y=flops_per_byte"), false);
  assert.equal(said([["completed", 2, 5, 5, final]]), false);
  assert.equal(said([["completed", 2, 5, 5]]), false);
});
