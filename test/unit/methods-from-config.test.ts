import test from "ava";
import { completeConfig } from "#src/config/resolve.js";
import type { MethodConfig } from "#src/config/schema.js";
import { ConfigError } from "#src/errors.js";
import { methodFromConfig } from "#src/methods/from-config.js";
import { composePlan } from "#src/methods/plan.js";
import { bertParameters } from "../helpers/bert-parameters.js";

const parameters = bertParameters(4);

function planOf(protocol: "paper" | "released", entries: MethodConfig[], among = parameters) {
  const methods = entries.map((entry) => methodFromConfig(entry, { protocol, std: 0.02 }));
  const plans = composePlan(among, methods);
  return (name: string) => plans[among.findIndex((parameter) => parameter.name === name)];
}

const [decay, prior, llrd]: MethodConfig[] = [
  { name: "weight-decay", lambda: 0.01 },
  { name: "pretrained-weight-decay", lambda: 0.01 },
  { name: "llrd", decay: 0.9 },
];

test("weight decay works as the paper says, and does nothing as its released code has it", (t) => {
  t.like(planOf("paper", [decay!])("pooler.weight"), {
    weightDecay: 0.01,
    decayTowards: "zero",
    decayScaledByLr: true,
  });
  for (const { name } of parameters) t.is(planOf("released", [decay!])(name)?.weightDecay, 0, name);
});

test("decay towards the start takes the learning rate as a factor in the released code alone", (t) => {
  t.like(planOf("paper", [prior!])("pooler.weight"), { weightDecay: 0.01, decayScaledByLr: false });
  t.like(planOf("released", [prior!])("pooler.weight"), { weightDecay: 0.01, decayScaledByLr: true });
});

test("LLRD takes the head out of weight decay in the released code, or when it is told to", (t) => {
  const decayOf = (protocol: "paper" | "released", entry: MethodConfig, name: string) =>
    planOf(protocol, [prior!, entry])(name)?.weightDecay;
  for (const head of ["pooler.weight", "classifier.weight"]) {
    t.is(decayOf("paper", llrd!, head), 0.01);
    t.is(decayOf("released", llrd!, head), 0);
    t.is(decayOf("paper", { name: "llrd", decay: 0.9, headDecay: false }, head), 0);
    t.is(decayOf("released", { name: "llrd", decay: 0.9, headDecay: true }, head), 0.01);
  }
  t.is(decayOf("released", llrd!, "blocks.0.ffn.output.weight"), 0.01);
});

test("LLRD ahead of a decay that would put the head back is refused", (t) => {
  const config = { protocol: "released" as const, methods: [llrd!, prior!] };
  const error = t.throws(() => completeConfig(config), {
    instanceOf: ConfigError,
    message: /llrd.* before pretrained/,
  });
  t.regex(error.hint ?? "", /put llrd behind pretrained-weight-decay/);
  t.notThrows(() => completeConfig({ ...config, methods: [prior!, llrd!] }));
  t.notThrows(() => completeConfig({ ...config, protocol: "paper" }));
  t.throws(() => completeConfig({ methods: [{ name: "llrd", decay: 0.9, headDecay: false }, decay!] }));
});

test("without a pooler Re-init draws the top blocks alone, and refuses to draw nothing", (t) => {
  const without = parameters.filter(({ role }) => role !== "pooler");
  const reset = planOf("paper", [{ name: "reinit", layers: 1 }], without);
  t.deepEqual(reset("blocks.3.attention.query.weight")?.reset, { normal: 0.02, stream: "reinit" });
  t.is(reset("blocks.2.attention.query.weight")?.reset, "none");
  t.is(reset("classifier.weight")?.reset, "none");
  t.throws(() => planOf("paper", [{ name: "reinit", layers: 0 }], without), {
    instanceOf: ConfigError,
    message: /this model has no pooler, so reinit with layers 0 would draw nothing/,
  });
});

test("what Re-init draws anew cannot be frozen", (t) => {
  const reinit = (layers: number): MethodConfig => ({ name: "reinit", layers });
  const freeze = (role: "embedding" | "attention" | "pooler"): MethodConfig => ({ name: "freeze", roles: [role] });
  const methods = [reinit(2), freeze("attention")];
  t.throws(() => completeConfig({ methods }), { instanceOf: ConfigError, message: /draws attention parameters anew/ });
  t.throws(() => completeConfig({ methods: [freeze("pooler"), reinit(0)] }), { message: /draws pooler parameters/ });
  t.notThrows(() => completeConfig({ methods: [reinit(0), freeze("attention")] }));
  t.notThrows(() => completeConfig({ methods: [reinit(2), freeze("embedding")] }));
});
