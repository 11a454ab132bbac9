import assert from "node:assert/strict";
import test from "node:test";
import {objectivesOf, readChoice, writeChoice} from "../../../dashboards/static/choice.js";
import {OBJECTIVES, WORDS, choose} from "./front.mjs";

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
    const written = writeChoice(choice, kept, OBJECTIVES);
    assert.equal(String(written), again);
    assert.deepEqual(readChoice(written, OBJECTIVES, WORDS.quantities), choice);
  });
}

test("a limit that was lifted is not in the address any more", () => {
  const written = writeChoice(choose(), new URLSearchParams("max.params=5&zoom=1,2,3,4&log=0"), OBJECTIVES);
  assert.equal(String(written), "");
});

test("what counts as the front", () => {
  assert.deepEqual(objectivesOf(choose(), OBJECTIVES), OBJECTIVES);
  assert.deepEqual(objectivesOf(choose("front=axes"), OBJECTIVES), ["flops_per_byte", "val_bpb"]);
  assert.deepEqual(objectivesOf(choose("front=params"), OBJECTIVES), ["flops_per_byte", "val_bpb", "params"]);
});
