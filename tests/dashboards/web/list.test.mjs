import assert from "node:assert/strict";
import test from "node:test";
import {announcement, chosenIn, due, withChosen} from "../../../dashboards/static/list.js";

test("what runs is asked for more often", () => {
  for (const [since, live, expected] of [
    [0, true, false], [2999, true, false], [3000, true, true], [3000, false, false], [20000, false, true],
  ]) assert.equal(due(since, live), expected, `${since} ${live}`);
});

test("two searches are chosen, the last ones, and the rest of the address stays", () => {
  for (const [query, chosen, expected] of [
    ["", ["a"], "?s=a"],
    ["?sort=best&s=a", ["a", "b"], "?sort=best&s=a&s=b"],
    ["?s=a&s=b&name=x", ["a", "b", "c"], "?name=x&s=b&s=c"],
    ["?s=a", [], ""],
    ["", ["a&s=b"], "?s=a%26s%3Db"],
  ]) {
    assert.equal(withChosen(query, chosen), expected);
    assert.deepEqual(chosenIn(expected), chosen.slice(-2));
  }
  assert.deepEqual(chosenIn("?s=a&s=a&s=b"), ["a", "b"]);
});

test("what is said of a list", () => {
  assert.deepEqual([0, 1, 50].map(announcement), ["No searches", "1 search", "50 searches on this page"]);
});
