import assert from "node:assert/strict";
import test from "node:test";
import {Columns} from "../../../dashboards/static/columns.js";
import {throttled} from "../../../dashboards/static/live.js";

const delta = (revision, rows, costs) => ({
  revision,
  number: rows.map(([number]) => number),
  state: rows.map(([, state]) => state),
  origin: rows.map(() => "proposed"),
  val_bpb: rows.map(([, , loss]) => loss),
  val_error: rows.map(() => null),
  test_bpb: rows.map(() => null),
  test_error: rows.map(() => null),
  last_bpb: rows.map(() => null),
  flops: rows.map(() => 1),
  audited: rows.map(() => false),
  costs,
});

test("what has changed replaces what was there, what is new is added", () => {
  const own = new Columns();
  assert.equal(own.revision, -1);
  assert.deepEqual(own.merge(delta(3, [[0, "completed", 2], [1, "training", null]], {params: [5, 6]})), [0, 1]);
  own.merge(delta(5, [[1, "completed", 1.5], [7, "queued", null]], {params: [6, 8], peak_memory: [1, null]}));
  assert.deepEqual([own.revision, own.length], [5, 3]);
  assert.deepEqual(own.number, [0, 1, 7]);
  assert.deepEqual(own.state, ["completed", "completed", "queued"]);
  assert.deepEqual(own.val_bpb, [2, 1.5, null]);
  assert.deepEqual(own.costs.params, [5, 6, 8]);
  assert.deepEqual(own.values("peak_memory"), [null, 1, null]);
  assert.deepEqual([own.place(7), own.place(3)], [2, -1]);
});

test("a cost that is not there is a column of gaps", () => {
  const own = new Columns();
  own.merge(delta(1, [[0, "completed", 2]], {params: [null], flops_per_byte: [3]}));
  assert.deepEqual(own.values("latency_ms_per_kb"), [null]);
  assert.deepEqual(own.values("val_bpb"), [2]);
  assert.deepEqual(own.known(), ["flops_per_byte"]);
});

test("the first at once, of those that follow the last, after a pause", async () => {
  const heard = [];
  const tell = throttled(value => heard.push(value), 30);
  tell(1);
  assert.deepEqual(heard, [1]);
  for (const value of [2, 3, 4]) tell(value);
  assert.deepEqual(heard, [1]);
  await new Promise(resolve => setTimeout(resolve, 80));
  assert.deepEqual(heard, [1, 4]);
  await new Promise(resolve => setTimeout(resolve, 80));
  tell(5);
  assert.deepEqual(heard, [1, 4, 5]);
});
