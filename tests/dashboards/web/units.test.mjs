import assert from "node:assert/strict";
import test from "node:test";
import {format, withError} from "../../../dashboards/static/units.js";

const ROWS = [
  // kind, value, text
  ["count", 0, "0"],
  ["count", 999.4, "999"],
  ["count", 999.6, "1k"],
  ["count", 1125000, "1.12M"], // halfway: to the even digit
  ["count", 1135000, "1.14M"],
  ["count", 2.5e12, "2500B"],
  ["flops", 5.2e12, "5.2 TFLOP"],
  ["flops", 1e-5, "1e-05 FLOP"],
  ["bytes", 1.5 * 2 ** 20, "1.5 MiB"],
  ["bytes", 1023.9, "1 KiB"],
  ["seconds", 0.0625, "62 ms"],
  ["seconds", 45, "45 s"],
  ["seconds", 59.96, "1 min"],
  ["seconds", 450, "7 min 30 s"],
  ["seconds", 7500, "2 h 5 min"],
  ["loss", 0.0625, "0.062"],
  ["loss", 2.1344, "2.134"],
  ["loss", Infinity, "not finite"],
  ["milliseconds", 1234, "1.23e+03 ms"],
  ["share", 0.305, "30.5%"],
  ["unheard of", 12345.6, "1.235e+04"],
  ["count", null, "—"],
];

for (const [kind, value, text] of ROWS) {
  test(`${kind} ${value} is ${text}`, () => assert.equal(format(kind, value), text));
}

test("a loss with its error", () => {
  assert.equal(withError(2.13449, 0.00391), "2.134 ± 0.004");
  assert.equal(withError(2.5, null), "2.500");
  assert.equal(withError(null, 0.1), "—");
});
