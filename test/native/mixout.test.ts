import test from "ava";
import type { RunConfig } from "#src/config/schema.js";
import { ConfigError, SteadytuneError } from "#src/errors.js";
import { mixout } from "#src/methods/mixout.js";
import { composePlan } from "#src/methods/plan.js";
import type { Session } from "#src/native/session.js";
import type { Mixout, PackedBatch, ParameterPlan } from "#src/native/types.js";
import { prepare } from "#src/training/prepare-run.js";
import { train } from "#src/training/train.js";
import { sameBits } from "../helpers/bits.js";
import { type GoldenModel, openGolden, relativeError } from "../helpers/golden.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";
import { withoutTimes } from "../helpers/run-log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig } from "../helpers/tiny-run.js";

type Mixing = Pick<Mixout, "p"> & Partial<Mixout>;

const mixed = (session: Session, how: Mixing): ParameterPlan[] => composePlan([...session.parameters], [mixout(how)]);

/** Steps without dropout from the plan's start; the losses. */
async function steps(
  { session, batch }: GoldenModel,
  plan: ParameterPlan[],
  { count = 3, orderSeed = 0 }: { count?: number; orderSeed?: number } = {},
): Promise<number[]> {
  await session.setPlan(plan, { initSeed: 0, keepStart: false });
  const losses = [];
  for (let step = 1; step <= count; step++) {
    losses.push((await session.train([batch], stepOptions({ step, orderSeed, dropout: false }))).loss);
  }
  return losses;
}

/** Gradients of one step at the start, where mixing changes no weight: value and target are the same. */
async function gradientsAtStart(model: GoldenModel, plan: ParameterPlan[], parts: PackedBatch[], names: string[]) {
  const { session } = model;
  await session.setPlan(plan, { initSeed: 0, keepStart: false });
  await session.train(parts, stepOptions({ learningRate: 0, dropout: false }));
  return Promise.all(names.map((name) => session.readGradient(name)));
}

const zeros = (values: Float32Array) => values.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);

test("at the start, where every weight is its own target, mixing changes no bit of the loss", async (t) => {
  await using model = await openGolden("bert-classification");
  const [plain] = await steps(model, plainPlan(model.session.parameters), { count: 1 });
  for (const mask of ["element", "column"] as const) {
    await using other = await openGolden("bert-classification");
    t.deepEqual(await steps(other, mixed(other.session, { p: 0.9, mask }), { count: 1 }), [plain]);
  }
});

test("a tiny share is nearly plain training, a large one is not", async (t) => {
  const parameters = async (plan: (session: Session) => ParameterPlan[]) => {
    await using model = await openGolden("bert-classification");
    const losses = await steps(model, plan(model.session));
    return { losses, values: await model.session.readBuffer("parameters") };
  };
  const plain = await parameters((session) => plainPlan(session.parameters));
  const tiny = await parameters((session) => mixed(session, { p: 2 / 65536 }));
  const large = await parameters((session) => mixed(session, { p: 0.5 }));
  t.true(relativeError(tiny.losses, plain.losses) < 1e-4, `${tiny.losses} ${plain.losses}`);
  t.true(relativeError(tiny.values, plain.values) < 1e-3);
  t.true(relativeError(large.losses, plain.losses) > 1e-3, `${large.losses} ${plain.losses}`);
  t.false(sameBits(tiny.values, plain.values));
});

test("steps are reproducible bit for bit, and another orderSeed brings other masks", async (t) => {
  const run = async (orderSeed: number, threads = 1) => {
    await using model = await openGolden("bert-classification", "bfloat16", threads);
    const losses = await steps(model, mixed(model.session, { p: 0.5 }), { orderSeed });
    return { losses, values: await model.session.readBuffer("parameters") };
  };
  const first = await run(0);
  const again = await run(0);
  t.deepEqual(again.losses, first.losses);
  t.true(sameBits(again.values, first.values));
  t.false(sameBits((await run(1)).values, first.values));
});

test("masks do not depend on the number of threads", async (t) => {
  const run = async (threads: number) => {
    await using model = await openGolden("bert-classification", "float32", threads);
    return await steps(model, mixed(model.session, { p: 0.5 }));
  };
  t.true(relativeError(await run(2), await run(1)) < 1e-5);
});

test("evaluation and `gradients` see the weights as they are", async (t) => {
  await using model = await openGolden("bert-classification");
  const { session, batch } = model;
  await steps(model, mixed(session, { p: 0.7 }));
  await using plain = await openGolden("bert-classification");
  await plain.session.writeBuffer("parameters", await session.readBuffer("parameters"));
  const [actual, expected] = [await session.forward(batch), await plain.session.forward(batch)];
  t.true(sameBits(actual.logits, expected.logits));
  await session.gradients(batch);
  await plain.session.gradients(batch);
  for (const name of ["blocks.1.attention.key.weight", "pooler.weight"]) {
    t.true(sameBits(await session.readGradient(name), await plain.session.readGradient(name)), name);
  }
});

test("the released gradient is (1 - p) times the exact one, on mixed weights alone", async (t) => {
  await using model = await openGolden("bert-classification");
  const names = model.session.parameters.map(({ name }) => name);
  for (const mask of ["element", "column"] as const) {
    const gradients = (gradient: Mixout["gradient"]) =>
      gradientsAtStart(model, mixed(model.session, { p: 0.75, mask, gradient }), [model.batch], names);
    const exact = await gradients("exact");
    const released = await gradients("released");
    for (const [i, { name, role, shape }] of model.session.parameters.entries()) {
      const ratio = shape.length === 2 && role !== "embedding" ? 0.25 : 1;
      t.true(
        sameBits(
          released[i]!,
          exact[i]!.map((value) => value * ratio),
        ),
        name,
      );
    }
  }
});

test("masks cut the share p out of each matrix, elements or whole columns, and no two matrices share one", async (t) => {
  await using model = await openGolden("bert-classification");
  const names = ["query", "key", "value"].map((part) => `blocks.0.attention.${part}.weight`);
  const plain = await gradientsAtStart(model, plainPlan(model.session.parameters), [model.batch], names);
  t.true(plain.every((values) => zeros(values) === 0));
  const rows = plain[0]!.length / model.shape.hiddenSize;

  const elements = await gradientsAtStart(model, mixed(model.session, { p: 0.5 }), [model.batch], names);
  const places = elements.map((values) => [...values.keys()].filter((i) => values[i] === 0));
  // 512 of 1024 elements, with five standard deviations.
  for (const cut of places) t.true(Math.abs(cut.length - 512) < 80, `${cut.length}`);
  t.true(new Set(places.map((cut) => cut.join())).size === 3);

  const how = { p: 0.5, mask: "column" } as const;
  const columns = await gradientsAtStart(model, mixed(model.session, how), [model.batch], names);
  const cuts = columns.map((values) => {
    const perColumn = Array.from({ length: model.shape.hiddenSize }, (_, column) =>
      zeros(values.filter((_, i) => i % model.shape.hiddenSize === column)),
    );
    t.true(perColumn.every((count) => count === 0 || count === rows));
    return perColumn.join();
  });
  t.is(new Set(cuts).size, 3);
});

test("each part of an accumulated step has masks of its own", async (t) => {
  await using model = await openGolden("bert-classification");
  const plan = mixed(model.session, { p: 0.5 });
  const name = "blocks.0.ffn.intermediate.weight";
  const [whole] = await gradientsAtStart(model, plan, [model.batch], [name]);
  const [twice] = await gradientsAtStart(model, plan, [model.batch, model.batch], [name]);
  t.true(Math.abs(zeros(whole!) / whole!.length - 0.5) < 0.06);
  t.true(Math.abs(zeros(twice!) / twice!.length - 0.25) < 0.06, `${zeros(twice!) / twice!.length}`);
});

test("the target is the value at the start, after it was drawn anew", async (t) => {
  await using model = await openGolden("bert-classification");
  const withReset = (plan: ParameterPlan[]) =>
    plan.map((entry, i): ParameterPlan =>
      model.session.parameters[i]!.name === "pooler.weight"
        ? { ...entry, reset: { normal: 0.5, stream: "reinit" } }
        : entry,
    );
  const [plain] = await steps(model, withReset(plainPlan(model.session.parameters)), { count: 1 });
  await using other = await openGolden("bert-classification");
  t.deepEqual(await steps(other, withReset(mixed(other.session, { p: 0.9 })), { count: 1 }), [plain]);
});

test("a plan that cannot be mixed is refused by name", async (t) => {
  await using model = await openGolden("bert-classification");
  const { session } = model;
  const how: Mixout = { p: 0.5, mask: "element", gradient: "exact" };
  const refused = async (changes: Record<string, Mixout>, message: RegExp) => {
    const plan = plainPlan(session.parameters).map((entry, i) => ({
      ...entry,
      mixout: changes[session.parameters[i]!.name] ?? null,
    }));
    const error = await t.throwsAsync(session.setPlan(plan, { initSeed: 0, keepStart: false }), {
      instanceOf: SteadytuneError,
    });
    t.is(error.code, "ERR_CONFIG");
    t.regex(error.message, message);
  };
  await refused({ "embeddings.word.weight": how }, /embeddings\.word\.weight/);
  await refused({ "pooler.bias": how }, /pooler\.bias/);
  await refused({ "pooler.weight": { ...how, p: 1 } }, /pooler\.weight.*p outside/);
  const pair = ["query", "key"].map((part) => `blocks.0.attention.${part}.weight`);
  await refused({ [pair[0]!]: how, [pair[1]!]: { ...how, mask: "column" } }, /attention\.key\.weight.*another way/);
  t.throws(() => mixout({ p: 1 }), { instanceOf: ConfigError, message: /p 1,/ });
});

/** The loss of a run's first step, which mixing does not change. */
async function firstLoss(folder: string, changes: RunConfig): Promise<unknown> {
  const config = tinyConfig(folder, { steps: 1, evaluations: 1, ...changes });
  await using prepared = await prepare(config);
  await train(prepared, config, config.output);
  return withoutTimes(config.output).find(({ type }) => type === "step")?.["loss"];
}

test("mixout in a config takes the place of dropout, unless it is told to keep it", async (t) => {
  const first = (changes: RunConfig) => firstLoss(temporaryFolder(t), changes);
  const method = { name: "mixout" as const, p: 0.9 };
  const plain = await first({});
  const without = await first({ dropout: 0 });
  t.not(plain, without);
  t.is(await first({ methods: [method] }), without);
  t.is(await first({ methods: [{ ...method, keepDropout: true }] }), plain);
  t.is(await first({ methods: [{ ...method, p: 0 }] }), plain);
});
