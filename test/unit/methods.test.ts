import test from "ava";
import { ConfigError } from "#src/errors.js";
import { freeze } from "#src/methods/freeze.js";
import { initialize } from "#src/methods/initialize.js";
import { llrd } from "#src/methods/llrd.js";
import { keepsDropout, mixout } from "#src/methods/mixout.js";
import type { Method } from "#src/methods/method.js";
import { composePlan } from "#src/methods/plan.js";
import { pretrainedWeightDecay } from "#src/methods/pretrained-weight-decay.js";
import { reinit } from "#src/methods/reinit.js";
import { weightDecay } from "#src/methods/weight-decay.js";
import { bertParameters } from "../helpers/bert-parameters.js";

const parameters = bertParameters(4);

function planOf(methods: Method[], name: string) {
  const plan = composePlan(parameters, methods)[parameters.findIndex((p) => p.name === name)];
  if (!plan) throw new Error(`no parameter ${name}`);
  return plan;
}

test("without methods every parameter is trained at the full rate, without decay, from its checkpoint", (t) => {
  for (const plan of composePlan(parameters, [])) {
    t.deepEqual(plan, {
      frozen: false,
      lrScale: 1,
      weightDecay: 0,
      decayTowards: "zero",
      decayScaledByLr: true,
      reset: "none",
      mixout: null,
    });
  }
});

test("weight decay leaves out biases and LayerNorm and nothing else", (t) => {
  const plans = composePlan(parameters, [weightDecay(0.01)]);
  const exempt = parameters.filter((_, i) => plans[i]?.weightDecay === 0).map(({ name }) => name);
  const expected = parameters.map(({ name }) => name).filter((name) => /\.bias$|norm\.weight$/.test(name));
  t.deepEqual(exempt, expected);
  t.is(planOf([weightDecay(0.01)], "embeddings.word.weight").weightDecay, 0.01);
  t.is(planOf([weightDecay(0.01)], "classifier.weight").weightDecay, 0.01);
});

test("pretrained weight decay pulls to the start, with or without the learning rate as a factor", (t) => {
  t.like(planOf([pretrainedWeightDecay(0.1, { scaledByLr: false })], "pooler.weight"), {
    weightDecay: 0.1,
    decayTowards: "start",
    decayScaledByLr: false,
  });
  t.like(planOf([pretrainedWeightDecay(0.1, { scaledByLr: true })], "pooler.weight"), { decayScaledByLr: true });
  t.is(planOf([pretrainedWeightDecay(0.1, { scaledByLr: true })], "pooler.bias").weightDecay, 0);
});

test("llrd leaves the head at the full rate and decays block by block down to the embeddings", (t) => {
  const scale = (name: string) => planOf([llrd(0.5)], name).lrScale;
  t.is(scale("classifier.weight"), 1);
  t.is(scale("pooler.bias"), 1);
  t.is(scale("blocks.3.ffn.output.weight"), 0.5);
  t.is(scale("blocks.0.attention.norm.bias"), 0.5 ** 4);
  t.is(scale("embeddings.word.weight"), 0.5 ** 5);
  t.is(scale("embeddings.norm.weight"), 0.5 ** 5);
});

test("freezing the embeddings leaves everything else to train", (t) => {
  t.true(planOf([freeze(["embedding"])], "embeddings.position.weight").frozen);
  t.false(planOf([freeze(["embedding"])], "embeddings.norm.weight").frozen);
  t.false(planOf([freeze(["embedding"])], "blocks.0.attention.query.weight").frozen);
});

test("freezing everything is refused", (t) => {
  const all = freeze(["embedding", "attention", "ffn", "layerNorm", "pooler", "classifier"]);
  t.throws(() => composePlan(parameters, [all]), { instanceOf: ConfigError, message: /nothing to train/ });
});

test("re-init draws the pooler and the top blocks anew, weights normal, biases 0, LayerNorm 1 and 0", (t) => {
  const reset = (name: string) => planOf([reinit(2, 0.02)], name).reset;
  t.deepEqual(reset("pooler.weight"), { normal: 0.02, stream: "reinit" });
  t.is(reset("pooler.bias"), "zeros");
  t.deepEqual(reset("blocks.2.attention.key.weight"), { normal: 0.02, stream: "reinit" });
  t.is(reset("blocks.3.ffn.norm.weight"), "ones");
  t.is(reset("blocks.3.ffn.norm.bias"), "zeros");
  t.is(reset("blocks.1.ffn.output.weight"), "none");
  t.is(reset("classifier.weight"), "none");
  t.is(reset("embeddings.word.weight"), "none");
});

test("re-init with 0 layers is the pooler alone, and more layers than the model has are refused", (t) => {
  const plans = composePlan(parameters, [reinit(0, 0.02)]);
  t.deepEqual(
    parameters.filter((_, i) => plans[i]?.reset !== "none").map(({ name }) => name),
    ["pooler.weight", "pooler.bias"],
  );
  t.throws(() => composePlan(parameters, [reinit(5, 0.02)]), { instanceOf: ConfigError, message: /4 blocks/ });
});

test("a missing head is drawn from its own stream, whatever re-init does", (t) => {
  const methods = [initialize(["classifier.weight", "classifier.bias"], 0.02), reinit(1, 0.02)];
  t.deepEqual(planOf(methods, "classifier.weight").reset, { normal: 0.02, stream: "classifierInit" });
  t.is(planOf(methods, "classifier.bias").reset, "zeros");
});

test("mixout mixes the matrices of linear layers, never biases, embeddings or LayerNorm", (t) => {
  const plans = composePlan(parameters, [mixout({ p: 0.3 })]);
  const names = parameters.filter((_, i) => plans[i]?.mixout !== null).map(({ name }) => name);
  const layers = ["attention.query", "attention.key", "attention.value", "attention.output", "ffn.intermediate"];
  const expected = parameters
    .map(({ name }) => name)
    .filter(
      (name) =>
        name.endsWith(".weight") &&
        ([...layers, "ffn.output"].some((layer) => name.includes(layer)) || /^(pooler|classifier)/.test(name)),
    );
  t.deepEqual(names, expected);
  t.is(names.length, 4 * 6 + 2);
  t.deepEqual(planOf([mixout({ p: 0.3 })], "pooler.weight").mixout, { p: 0.3, mask: "element", gradient: "exact" });
  t.is(planOf([mixout({ p: 0.3 }), mixout({ p: 0 })], "pooler.weight").mixout, null);
});

test("mixout refuses a share that leaves nothing to train", (t) => {
  for (const p of [1, 0.9999999, -0.1, 1.5, NaN]) t.throws(() => mixout({ p }), { instanceOf: ConfigError });
});

test("dropout stays where no mixout takes its place", (t) => {
  t.true(keepsDropout([]));
  t.true(keepsDropout([{ name: "llrd", decay: 0.9 }]));
  t.true(keepsDropout([{ name: "mixout", p: 0 }]));
  t.true(keepsDropout([{ name: "mixout", p: 0.1, keepDropout: true }]));
  t.false(
    keepsDropout([
      { name: "llrd", decay: 0.9 },
      { name: "mixout", p: 0.1 },
    ]),
  );
});

test("methods compose: each changes its own side of the plan, and a later one wins on the same side", (t) => {
  const plan = planOf([weightDecay(0.01), llrd(0.9), reinit(1, 0.02), weightDecay(0.1)], "blocks.3.ffn.output.weight");
  t.deepEqual(plan, {
    frozen: false,
    lrScale: 0.9,
    weightDecay: 0.1,
    decayTowards: "zero",
    decayScaledByLr: true,
    reset: { normal: 0.02, stream: "reinit" },
    mixout: null,
  });
});

test("a method of the user's own that names an unknown parameter is refused by name", (t) => {
  t.throws(() => composePlan(parameters, [() => ({ "bert.pooler.weight": { frozen: true } })]), {
    instanceOf: ConfigError,
    message: /"bert\.pooler\.weight"/,
  });
});
