import test from "ava";
import { completeConfig } from "#src/config/resolve.js";
import type { RunConfig } from "#src/config/schema.js";
import { applySet } from "#src/config/set.js";
import { ConfigError } from "#src/errors.js";

const set = (assignment: string, config: RunConfig = {}) => applySet(config, assignment);

test("values are numbers, booleans, lists, objects or text", (t) => {
  t.deepEqual(set("batchSize=16"), { batchSize: 16 });
  t.deepEqual(set("optimizer.learningRate=5e-5"), { optimizer: { learningRate: 5e-5 } });
  t.deepEqual(set("optimizer.biasCorrection=false"), { optimizer: { biasCorrection: false } });
  t.deepEqual(set("optimizer.betas=[0.9,0.98]"), { optimizer: { betas: [0.9, 0.98] } });
  t.deepEqual(set('methods=[{"name":"llrd","decay":0.9}]'), { methods: [{ name: "llrd", decay: 0.9 }] });
  t.deepEqual(set("dtype=bfloat16"), { dtype: "bfloat16" });
  t.deepEqual(set("text=a=b"), { text: "a=b" });
});

test("text stays text where the key holds text", (t) => {
  t.deepEqual(set("label=5"), { label: "5" });
  t.deepEqual(set("model=true"), { model: "true" });
});

test("the rest of an object and of a list is kept", (t) => {
  const config: RunConfig = { optimizer: { eps: 1e-6 }, methods: [{ name: "llrd", decay: 0.9 }] };
  t.deepEqual(set("optimizer.warmup=0", config), { ...config, optimizer: { eps: 1e-6, warmup: 0 } });
  t.deepEqual(set("methods.0.decay=0.5", config), { ...config, methods: [{ name: "llrd", decay: 0.5 }] });
  t.deepEqual(config, { optimizer: { eps: 1e-6 }, methods: [{ name: "llrd", decay: 0.9 }] });
});

test("null puts a key back to its default", (t) => {
  t.deepEqual(set("seed=null", { seed: 3 }), {});
  t.deepEqual(set("label=null", { label: "queue" }), {});
  t.deepEqual(set("optimizer.eps=null", { optimizer: { eps: 1, warmup: 0 } }), { optimizer: { warmup: 0 } });
});

test("steps take the place of epochs", (t) => {
  t.deepEqual(set("steps=10", { epochs: 3 }), { steps: 10 });
});

test("what is no assignment is refused", (t) => {
  for (const text of ["batchSize", "=3", "optimizer..eps=1", ".seed=1"]) {
    t.throws(() => set(text), { instanceOf: ConfigError, message: /is not of the form key=value/ });
  }
});

test("a path through a value, or past the end of a list, is refused", (t) => {
  t.throws(() => set("seed.x=1", { seed: 1 }), { message: "--set seed.x: seed holds no keys" });
  const methods: RunConfig["methods"] = [{ name: "llrd", decay: 0.9 }];
  t.throws(() => set("methods.3.decay=1", { methods }), { message: /methods has 1 items, counted from 0/ });
  t.throws(() => set("methods.first=1", { methods }), { message: /methods has 1 items, counted from 0/ });
});

test("a key that would reach every object becomes an unknown key", (t) => {
  const config = set("__proto__.polluted=1");
  t.is(({} as Record<string, unknown>)["polluted"], undefined);
  t.throws(() => completeConfig(config), { instanceOf: ConfigError, message: /unknown key "__proto__"/ });
});
