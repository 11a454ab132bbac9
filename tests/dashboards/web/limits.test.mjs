import assert from "node:assert/strict";
import test from "node:test";
import {STEPS, scaleOf, stepOf, valueOf} from "../../../dashboards/static/limits.js";
import {format, parse} from "../../../dashboards/static/units.js";

test("a scale goes from the least to the most; there is none where there is nothing to choose", () => {
  assert.deepEqual(scaleOf([null, 5, 0, -3, 70, 20]), {low: 5, high: 70});
  for (const values of [[], [null], [5, 5], [0, -1]]) assert.equal(scaleOf(values), null);
});

test("the least is within the first step, the last step has no limit", () => {
  const scale = {low: 31234.5, high: 4e6};
  assert.equal(valueOf(0, scale), 31234.5);
  assert.equal(valueOf(STEPS, scale), null);
  for (let step = 1; step < STEPS; step++) {
    assert.ok(/** @type {number} */ (valueOf(step, scale)) > (valueOf(step - 1, scale) ?? Infinity));
    assert.equal(stepOf(valueOf(step, scale) ?? undefined, scale), step);
  }
  assert.equal(stepOf(undefined, scale), STEPS);
  assert.equal(stepOf(1, scale), 0);
  assert.equal(stepOf(9e9, scale), STEPS);
});

const AMOUNTS = [
  ["count", "1.2M", 1.2e6], ["count", "2B", 2e9], ["count", " 5 k ", 5000], ["count", "1200", 1200],
  ["flops", "250 kFLOP", 250000], ["flops", "3G", 3e9], ["flops", "2e5", 2e5], ["flops", "1 PFLOPs", 1e15],
  ["bytes", "1.5 MiB", 1.5 * 2 ** 20], ["bytes", "500MB", 5e8], ["bytes", "77.1 B", 77.1], ["bytes", "12", 12],
  ["seconds", "7 min 30 s", 450], ["seconds", "2h", 7200], ["seconds", "930 ms", 0.93], ["seconds", ".5", 0.5],
  ["milliseconds", "40 ms", 40], ["milliseconds", "40", 40], ["milliseconds", "1 s", 1000],
  ["count", "lots", null], ["count", "", null], ["count", "-3", null], ["count", "0", null], ["count", "1.2M 3", null],
  ["count", "1 min", null], ["flops", "1 KiB", null], ["bytes", "3 s", null], ["count", "1e999", null],
  ["seconds", "1 min and 2 s", null], ["count", "constructor", null], ["count", "5 constructor", null], ["seconds", "1 toString", null],
];
for (const [kind, text, value] of AMOUNTS) {
  test(`${kind}: "${text}"`, () => assert.equal(parse(kind, text), value));
}

test("what is shown can be typed", () => {
  const values = [3, 0.25, 61.5, 999.4, 12345, 7.77e6, 3.2e10];
  for (const kind of ["count", "flops", "bytes", "seconds", "milliseconds"]) {
    for (const value of values) {
      const shown = format(kind, value);
      assert.equal(format(kind, parse(kind, shown)), shown);
    }
  }
});
