import assert from "node:assert/strict";
import test from "node:test";
import {
  address, canonical, command, epochs, facts, fieldFor, profileOf, remarks, specOf, times, valuesOf,
} from "../../../dashboards/static/form.js";

const FIELDS = [
  "name", "corpus", "space", "device", "minimize", "budget.total.compute", "budget.total.time", "budget.final",
  "limits.params", "limits.latency_ms_per_kb", "limits.export", "method.seed", "method.policy",
];
const NUMBERS = ["method.seed", "limits.latency_ms_per_kb"];
const SPEC = {
  name: "a", corpus: "austen", space: {name: "mine", knobs: {width: [1, 2], depth: [1]}}, extra: [1],
  budget: {total: {compute: "5TFLOP"}}, method: {seed: 3, other: 1}, minimize: ["params", "val_bpb"],
};

test("fields show a spec, and say it again", () => {
  const values = valuesOf(SPEC, FIELDS);
  assert.equal(values["budget.total.compute"], "5TFLOP");
  assert.equal(values["method.seed"], "3");
  assert.equal(values["limits.export"], "native");
  assert.equal(values["budget.final"], "");
  assert.equal(values.space, '{"knobs":{"depth":[1],"width":[1,2]},"name":"mine"}');
  assert.deepEqual(specOf(SPEC, values, NUMBERS), SPEC);
  assert.deepEqual(specOf({}, valuesOf({}, FIELDS), NUMBERS), {});
});

test("what changes in a field changes in the spec", () => {
  for (const [field, value, expected] of [
    ["budget.total.time", " 7min ", {...SPEC, budget: {total: {compute: "5TFLOP", time: "7min"}}}],
    ["method.seed", "12", {...SPEC, method: {seed: 12, other: 1}}],
    ["method.seed", "many", {...SPEC, method: {seed: "many", other: 1}}],
    ["method.seed", "1e9", {...SPEC, method: {seed: "1e9", other: 1}}],
    ["method.seed", "", {...SPEC, method: {other: 1}}],
    ["limits.latency_ms_per_kb", "2.5", {...SPEC, limits: {latency_ms_per_kb: 2.5}}],
    ["limits.params", "20M", {...SPEC, limits: {params: "20M"}}],
    ["limits.params", "5", {...SPEC, limits: {params: "5"}}],
    ["limits.export", "any", {...SPEC, limits: {export: "any"}}],
    ["name", "5", {...SPEC, name: "5"}],
    ["space", "llama-tiny", {...SPEC, space: "llama-tiny"}],
    ["corpus", '{"train":["x/*"]}', {...SPEC, corpus: {train: ["x/*"]}}],
    ["corpus", "{", {...SPEC, corpus: "{"}],
    ["minimize", ["params"], {...SPEC, minimize: ["val_bpb", "params"]}],
    ["budget.total.compute", "", {...SPEC, budget: undefined}],
  ]) {
    const before = structuredClone(SPEC);
    const found = specOf(SPEC, {...valuesOf(SPEC, FIELDS), [field]: value}, NUMBERS);
    assert.deepEqual(JSON.parse(JSON.stringify(found)), JSON.parse(JSON.stringify(expected)), `${field} ${value}`);
    assert.deepEqual(SPEC, before);
  }
});

test("an address holds what differs from where the form began", () => {
  const start = valuesOf(SPEC, FIELDS);
  assert.equal(address(start, start, {preset: "quick"}), "?preset=quick");
  assert.equal(address(start, start, {}), "");
  assert.equal(address(start, {...start, space: "x".repeat(5000)}, {}), "");
  const now = {...start, name: "a & b", "budget.total.compute": "", minimize: ["val_bpb", "params", "weight_bytes"]};
  const found = new URLSearchParams(address(start, now, {clone: "x"}));
  assert.deepEqual([...found], [
    ["clone", "x"], ["name", "a & b"], ["minimize", "val_bpb"], ["minimize", "params"], ["minimize", "weight_bytes"],
    ["budget.total.compute", ""],
  ]);
});

test("JSON is the same whatever the order", () => {
  assert.equal(canonical({b: [1, {d: null, c: "é\""}], a: true}), '{"a":true,"b":[1,{"c":"é\\"","d":null}]}');
});

test("each complaint has a field, or none", () => {
  for (const [complaint, field] of [
    ["budget.total.compute", "budget.total.compute"], ["corpus.train", "corpus"], ["space.knobs.width", "space"],
    ["budget.total", "budget.total.compute"], ["budget", "budget.total.compute"], ["method", "method.seed"],
    ["extra", ""], ["", ""], ["document", ""], ["nam", ""], ["names.x", ""],
  ]) assert.equal(fieldFor(complaint, FIELDS), field, complaint);
});

test("a command ends where its spec does", () => {
  assert.equal(command("a: 1\n\n", false), "nas submit - <<'END'\na: 1\nEND\n");
  assert.equal(command("a: |\nEND\nEND_", true), "nas submit - --yes <<'END__'\na: |\nEND\nEND_\nEND__\n");
});

test("what is to be profiled", () => {
  for (const [spec, expected] of [
    [{}, {device: "auto", parallel: 1}],
    [{device: "cuda:1", method: {parallel: 2}}, {device: "cuda", parallel: 2}],
    [{device: "cpu", method: {parallel: "x"}}, {device: "cpu", parallel: 1}],
    [{device: "rtx-4090"}, {device: "auto", parallel: 1}],
  ]) assert.deepEqual(profileOf(spec), expected);
});

const MEMBER = {id: "x", words: "1 layers", params: 25696, train_flops: 5e11, memory_bytes: 2 ** 22};
const FORECAST = {
  device: "AMD EPYC", estimated: false, binding: "compute", admitted_share: 0.914, epochs: 0.6187, final_epochs: 20.57,
  full_trainings: {predicted: 24.95, low: null, high: null}, seconds: {predicted: 245, low: null, high: null}, refused: "",
  fits: {size: 1632960, number: 1492901, cheapest: MEMBER, largest: MEMBER,
    broken: [{limit: "compute", share: 0.086, nearest: "compute: needs 501 GFLOP"}]},
  notes: [{topic: "corpus", line: "austen"}],
};

test("what a forecast says", () => {
  const found = facts(FORECAST, seconds => `at ${seconds}`);
  assert.deepEqual(found.map(own => [own.term, own.value]), [
    ["fit", "1.49M of 1.63M candidates"], ["cheapest", "25.7k parameters"], ["largest", "25.7k parameters"],
    ["pays for", "24.9 full trainings"], ["text is read", "0.62 times by a candidate"], ["ends", "in about 4 min 5 s"],
    ["device", "AMD EPYC"],
  ]);
  assert.equal(found[0].detail, "91.4% of the space keep every limit");
  assert.equal(found[1].detail, "1 layers; 500 GFLOP to train, 4 MiB of memory");
  assert.match(found[3].detail, /^compute binds/);
  assert.equal(found[5].detail, "at 245, if it begins now");
  assert.equal(epochs(FORECAST), 20.57);
  assert.equal(times(110.4), "110 times");
});

test("an estimate is an interval, and what is not known is not there", () => {
  const estimated = {
    ...FORECAST, estimated: true, fits: {...FORECAST.fits, largest: null}, refused: "too slow",
    seconds: {predicted: 100, low: 50, high: 200}, full_trainings: {predicted: 10, low: 5, high: 20},
  };
  const found = Object.fromEntries(facts(estimated, () => "").map(own => [own.term, own]));
  assert.equal(found.ends.value, "in about 1 min 40 s (50 s to 3 min 20 s)");
  assert.equal(found["pays for"].value, "10.0 (5.00 to 20.0) full trainings");
  assert.equal(found.largest, undefined);
  assert.match(found.device.detail, /not measured/);
  const endless = {...FORECAST, seconds: {predicted: null, low: null, high: null}};
  assert.equal(facts(endless, () => "").some(own => own.term === "ends"), false);
  assert.deepEqual(remarks(estimated).map(own => [own.term, own.value]), [
    ["refused by", "compute: 8.6%"], ["may be refused", "too slow"], ["corpus", "austen"],
  ]);
});
