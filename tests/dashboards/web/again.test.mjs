import assert from "node:assert/strict";
import {mock, test} from "node:test";
import {Again, allAgain, outcome, passes, pauseAfter, sentence} from "../../../dashboards/static/again.js";
import {Problem} from "../../../dashboards/static/api.js";

test("pauses grow, to a quarter of a minute", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 60].map(pauseAfter), [1000, 2000, 4000, 8000, 15000, 15000]);
});

test("what may pass is tried again, what is wrong with the question is not", () => {
  const all = [0, 408, 429, 500, 502, 503, 400, 401, 403, 404, 422];
  assert.deepEqual(all.filter(passes), [0, 408, 429, 500, 502, 503]);
});

test("what is said", () => {
  assert.equal(sentence("the events", 0), "Could not load the events: the server does not answer. It is tried again by itself.");
  assert.equal(sentence("the events", 502), "Could not load the events: the server answers 502. It is tried again by itself.");
  assert.equal(sentence("the events", 404, "no search 'x'"), "Could not load the events: no search 'x'.");
});

test("what became of a question", () => {
  assert.deepEqual(outcome(new Problem(429, "requests: too many")), {status: 429, why: "requests: too many"});
  assert.deepEqual(outcome(new TypeError("Failed to fetch")), {status: 0, why: ""});
  assert.throws(() => outcome(new SyntaxError("no JSON")), /no JSON/);
});

/** Attempts that fail with these statuses, one after the other; 200 works. How many were made after each pause. */
function attempts(t, statuses) {
  mock.timers.enable({apis: ["setTimeout"]});
  t.after(() => mock.timers.reset());
  const made = {count: 0, own: new Again(() => attempt())};
  const attempt = () => {
    const status = statuses[made.count++];
    if (status === 200) made.own.worked();
    else made.own.failed(status);
  };
  attempt();
  return made;
}

test("it is tried until it works, then no more; the next failure begins with a short pause", t => {
  const made = attempts(t, [503, 0, 200, 503, 200]);
  mock.timers.tick(999);
  assert.equal(made.count, 1);
  mock.timers.tick(1);
  assert.equal(made.count, 2);
  mock.timers.tick(1999);
  assert.equal(made.count, 2);
  mock.timers.tick(1);
  assert.equal(made.count, 3);
  mock.timers.tick(60000);
  assert.equal(made.count, 3);
  made.own.now();
  assert.equal(made.count, 4);
  mock.timers.tick(1000);
  assert.equal(made.count, 5);
});

test("when the server is back, what waits is tried at once, and once", t => {
  const [failing, fine] = [attempts(t, [503, 503, 503, 200]), {count: 0}];
  mock.timers.tick(1000);
  assert.equal(failing.count, 2);
  new Again(() => { fine.count++; }).worked();
  allAgain();
  assert.equal(failing.count, 3);
  allAgain();
  assert.equal(failing.count, 4);
  mock.timers.tick(60000);
  allAgain();
  assert.deepEqual([failing.count, fine.count], [4, 0]);
});

test("what cannot pass is left", t => {
  const made = attempts(t, [404, 200]);
  mock.timers.tick(60000);
  allAgain();
  assert.equal(made.count, 1);
});
