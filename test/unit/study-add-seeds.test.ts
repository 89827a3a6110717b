import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { ConfigError, StateError } from "#src/errors.js";
import { addSeeds } from "#src/study/add-seeds.js";
import { parseStudy } from "#src/study/file.js";
import { readManifest, writeManifest } from "#src/study/manifest.js";
import { planStudy } from "#src/study/run.js";
import type { SeedsFile } from "#src/study/schema.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

function study(t: ExecutionContext, seeds: SeedsFile) {
  const folder = temporaryFolder(t);
  const base = { model: tinyModel(folder), data: ticketsFile, text: "body", label: "queue", maxLength: 32 };
  const recipes = [
    { name: "short", steps: 2 },
    { name: "long", steps: 9 },
  ];
  const stages = ["first", "second"].map((name) => ({ name, recipes, seeds }));
  return { output: join(folder, "out"), study: parseStudy({ name: "tickets", base, stages }, { source: "s", folder }) };
}

test("seeds that are added are the trials that the file would have planned with as many", async (t) => {
  const two = study(t, 2);
  const { manifest: before } = await planStudy(two.study, two.output);
  await addSeeds(two.output, 2);
  const after = await readManifest(two.output);
  t.deepEqual(after?.trials.slice(0, 8), before.trials);

  const four = study(t, 4);
  const { manifest: planned } = await planStudy(four.study, four.output);
  const names = (trials: typeof planned.trials) =>
    trials.map(({ id, stage, recipe, seed, config }) => [id, stage, recipe, seed, config.orderSeed].join()).sort();
  t.deepEqual(names(after?.trials ?? []), names(planned.trials));

  const { manifest: again } = await planStudy(two.study, two.output);
  t.deepEqual(again.trials, after?.trials, "planning the file again takes none of them away");
});

test("seeds go behind the highest, and only to the stage that is named", async (t) => {
  const { study: planned, output } = study(t, [3, 14]);
  await planStudy(planned, output);
  const added = await addSeeds(output, 1, "second");
  t.deepEqual(
    added.map(({ stage, recipe, seed }) => [stage, recipe, seed]),
    [
      ["second", "short", "seed 15"],
      ["second", "long", "seed 15"],
    ],
  );
  const error = await t.throwsAsync(addSeeds(output, 1, "third"), { instanceOf: ConfigError });
  t.is(error.hint, "its stages are: first, second");
});

test("nobody knows the next seed of a grid", async (t) => {
  const { study: planned, output } = study(t, { init: [0, 1], order: [0, 1] });
  await planStudy(planned, output);
  await t.throwsAsync(addSeeds(output, 1), { instanceOf: ConfigError, message: /are a grid/ });
});

test("seeds of another version of the numerics are not mixed in", async (t) => {
  const { study: planned, output } = study(t, 1);
  const { manifest } = await planStudy(planned, output);
  const trials = manifest.trials.map((trial) => ({ ...trial, fingerprint: { ...trial.fingerprint, numerics: 0 } }));
  await writeManifest(output, { ...manifest, trials });
  await t.throwsAsync(addSeeds(output, 1), { instanceOf: StateError, message: /version 0 of the numerics/ });
});

test("the number of seeds to add is a whole number over 0", async (t) => {
  for (const count of [0, -3, 1.5]) {
    await t.throwsAsync(addSeeds(temporaryFolder(t), count), { instanceOf: ConfigError, message: /seeds to add/ });
  }
});
