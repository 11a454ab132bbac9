import assert from "node:assert/strict";
import test from "node:test";
import {refusal} from "../../../dashboards/static/refusal.js";

test("why a token was not taken", () => {
  for (const [status, wait, words] of [
    [401, 0, /expired or was revoked/],
    [429, 1, /in 1 second\.$/],
    [429, 40, /in 40 seconds\.$/],
    [429, 0, /in a minute\.$/],
    [422, 0, /begins with nas_/],
    [413, 0, /begins with nas_/],
    [500, 0, /server failed/],
    [503, 5, /server failed/],
  ]) assert.match(refusal(status, wait), words);
});
