import assert from "node:assert/strict";
import test from "node:test";
import {
  NOTHING, axes, data, drawn, escaped, filled, merged, missing, rows, rungs, summary, ticks, wrapped,
} from "../../../dashboards/static/curves.js";

const WORDS = {
  front: {name: "on the front"}, stopped: {name: "stopped in training"}, final: {name: "final run"}, open: {name: "not finished"},
};
const FRAME = [
  {mode: "lines", legendgroup: "stopped"}, {mode: "lines", legendgroup: "front"}, {mode: "markers", legendgroup: "stopped"},
];
const curve = (number, more = {}) => ({number, flops: [1e9, 2e9, 4e9], loss: [4, 3, 2.5], planned: 8e9, reason: "", ...more});
const answer = (standing, curves, more = {}) => ({
  revision: 1, number: Object.keys(standing).map(Number), standing: Object.values(standing), rungs: [], curves, ...more,
});

test("an answer is taken in; what is known stays; what is not known is missing", () => {
  const first = merged(NOTHING, answer({0: "front", 1: "stopped"}, [curve(0), curve(1)], {rungs: [0.25]}));
  assert.deepEqual(missing(first), []);
  const later = merged(first, answer({1: "stopped", 2: "front", 3: "open"}, [curve(2)], {revision: 9, rungs: [0.125, 0.25]}));
  assert.equal(later.revision, 9);
  assert.deepEqual(missing(later), [3]);
  assert.deepEqual(drawn(later).map(own => own.number), [1, 2]);
  assert.deepEqual(later.rungs, [0.125, 0.25]);
  const whole = filled(later, answer({3: "open"}, [curve(3)]));
  assert.deepEqual(missing(whole), []);
  assert.deepEqual([...whole.standing.keys()], [1, 2, 3]);
  assert.equal(NOTHING.curves.size, 0);
});

test("what has changed replaces what was known", () => {
  const first = merged(NOTHING, answer({0: "open"}, [curve(0)]));
  const later = merged(first, answer({0: "front"}, [curve(0, {flops: [1], loss: [1]})]));
  assert.deepEqual(drawn(later)[0].flops, [1]);
  assert.equal(later.standing.get(0), "front");
});

test("each trace has the curves of its standing, a gap after each; stopped ones end in a mark that says why", () => {
  const kept = merged(NOTHING, answer({0: "front", 1: "stopped", 2: "stopped", 4: "stopped"}, [
    curve(0), curve(1, {reason: "<b>worse</b> & dearer"}), curve(2), curve(4, {flops: [], loss: []}),
  ]));
  const [stopped, front, ends] = data(FRAME, kept, WORDS);
  assert.deepEqual(front.x, [1e9, 2e9, 4e9, null]);
  assert.deepEqual(stopped.customdata, [1, 1, 1, 1, 2, 2, 2, 2]);
  assert.deepEqual(stopped.y, [4, 3, 2.5, null, 4, 3, 2.5, null]);
  assert.deepEqual([ends.x, ends.y, ends.customdata], [[4e9, 4e9], [2.5, 2.5], [1, 2]]);
  assert.deepEqual(ends.hovertext, [
    "<b>#1</b> stopped in training<br>&lt;b&gt;worse&lt;/b&gt; &amp; dearer", "<b>#2</b> stopped in training",
  ]);
});

test("text of others is no markup, and is broken between words", () => {
  assert.equal(escaped(`<a href="x">&`), "&lt;a href=&quot;x&quot;&gt;&amp;");
  const lines = wrapped(`${"word ".repeat(20)}${"x".repeat(60)}  end`);
  assert.ok(lines.slice(0, -2).every(line => line.length <= 46));
  assert.equal(lines.join(" "), `${"word ".repeat(20)}${"x".repeat(60)} end`);
  assert.deepEqual(wrapped(""), []);
});

test("all points lie within the axes", () => {
  for (const curves of [[curve(0)], [curve(0, {flops: [5], loss: [2]})], [curve(0), curve(1, {flops: [1e6], loss: [90]})]]) {
    const {xaxis, yaxis} = axes(curves);
    for (const own of curves) {
      assert.ok(own.flops.every(x => xaxis.range[0] < Math.log10(x) && Math.log10(x) < xaxis.range[1]));
      assert.ok(own.loss.every(y => yaxis.range[0] < Math.log10(y) && Math.log10(y) < yaxis.range[1]));
    }
  }
});

test("rungs are shares of the largest plan that is not the final run's", () => {
  const kept = merged(NOTHING, answer({0: "front", 1: "front", 9: "final"}, [
    curve(0, {planned: 7e9}), curve(1), curve(9, {planned: 9e12}),
  ], {rungs: [0.125, 0.5]}));
  const {shapes, annotations} = rungs(kept);
  assert.deepEqual(shapes.map(own => own.x0), [1e9, 4e9]);
  assert.deepEqual(annotations.map(own => own.text), ["12.5%", "50%"]);
  assert.deepEqual(rungs(NOTHING), {shapes: [], annotations: []});
});

test("the table has the latest first", () => {
  const kept = merged(NOTHING, answer({0: "front", 1: "stopped"}, [curve(0, {planned: 0}), curve(1, {reason: "worse"})]));
  assert.deepEqual(rows(kept, WORDS), [
    {number: 1, cells: ["stopped in training", "2.500", "4 GFLOP", "50%", "worse"]},
    {number: 0, cells: ["on the front", "2.500", "4 GFLOP", "—", ""]},
  ]);
});

test("the summary", () => {
  assert.match(summary(NOTHING, WORDS), /^No candidate/);
  const kept = merged(NOTHING, answer({0: "front", 1: "stopped", 2: "stopped"}, [curve(0), curve(1), curve(2)]));
  assert.equal(summary(kept, WORDS), "3 curves: 2 stopped in training; 1 on the front.");
  assert.match(summary(merged(NOTHING, answer({0: "front"}, [curve(0)])), WORDS), /^1 curve: /);
});
