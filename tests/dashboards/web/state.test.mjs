import assert from "node:assert/strict";
import test from "node:test";
import {Columns} from "../../../dashboards/static/columns.js";
import {State} from "../../../dashboards/static/state.js";
import {OBJECTIVES, ROWS, WORDS, columns} from "./front.mjs";

const state = (query, kept = {columns: columns(ROWS)}) =>
  new State({search: "a b", objectives: OBJECTIVES, event: 0, frame: {data: [], layout: {}}}, WORDS, new URLSearchParams(query), kept);

const LINKS = [
  ["", ""],
  ["sort=params&c=10&c=13", "c=10&c=13&sort=params"],
  ["sort=-val_bpb&max.params=5&state=stopped", "max.params=5&state=stopped&sort=-val_bpb"],
  ["sort=&c=no&c=1.5", ""],
];
for (const [query, again] of LINKS) {
  test(`all that was chosen in ?${query}`, () => {
    const written = state(query).written(new URLSearchParams(query));
    assert.deepEqual([...written].sort(), [...new URLSearchParams(again)].sort());
  });
}

test("members stand on the front, within the limits alone", () => {
  const own = state("");
  own.find();
  assert.deepEqual([0, 1, 2, 4].map(row => own.standing(row)), ["front", "front", "dominated", "stopped"]);
  assert.equal(own.limited, false);
  own.choice.limits.params = 3;
  own.find();
  assert.deepEqual([0, 3].map(row => own.standing(row)), ["dominated", "front"]);
  assert.equal(own.limited, true);
});

test("columns that are loaded anew are seen", () => {
  const kept = {columns: new Columns()};
  const own = state("", kept);
  own.find();
  assert.equal(own.found.trained, 0);
  kept.columns = columns(ROWS);
  own.find();
  own.place();
  assert.deepEqual([own.found.trained, own.scene.parts.get("dominated").rows], [4, [0, 1, 2, 3]]);
});

test("nothing stands anywhere before it is placed", () => {
  assert.throws(() => state("").scene, /nothing was placed yet/);
});

test("addresses of a search's pages", () => {
  assert.equal(state("").address("candidates/3"), "/searches/a%20b/candidates/3");
});
