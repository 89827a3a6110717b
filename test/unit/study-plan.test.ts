import { appendFileSync, copyFileSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { RunConfig } from "#src/config/schema.js";
import { ConfigError, StateError } from "#src/errors.js";
import { studyOfTrials } from "#src/study/best-of-trials.js";
import { parseStudy } from "#src/study/file.js";
import { mergeTrials, readManifest, writeManifest } from "#src/study/manifest.js";
import { planTrials, type Trial } from "#src/study/plan.js";
import type { SeedsFile } from "#src/study/schema.js";
import { planStudy } from "#src/study/run.js";
import { shareMachine } from "#src/study/workers.js";
import { syntheticTrial } from "../helpers/synthetic-study.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

/** A study of the recipes "short" and "long" on the tickets, which lie with the model in `folder`. */
function ticketStudy(folder: string, { seeds = 2, base = {} }: { seeds?: SeedsFile; base?: RunConfig } = {}) {
  return parseStudy(
    {
      name: "tickets",
      base: { model: "./tiny-bert", data: "./tickets.csv", text: "body", label: "queue", maxLength: 32, ...base },
      stages: [
        {
          name: "a",
          recipes: [
            { name: "short", steps: 2 },
            { name: "long", steps: 9 },
          ],
          seeds,
        },
      ],
    },
    { source: "study.json", folder },
  );
}

function place(t: ExecutionContext): string {
  const folder = temporaryFolder(t);
  tinyModel(folder);
  copyFileSync(ticketsFile, join(folder, "tickets.csv"));
  return folder;
}

const ids = (trials: readonly Trial[]): string[] => trials.map(({ id }) => id);

test("all cells fill up together: the seeds are the outer loop", async (t) => {
  const folder = place(t);
  const { trials } = await planTrials(ticketStudy(folder), join(folder, "out"));
  t.deepEqual(
    trials.map(({ recipe, seed }) => `${recipe}, ${seed}`),
    ["short, seed 0", "long, seed 0", "short, seed 1", "long, seed 1"],
  );
  t.is(new Set(ids(trials)).size, 4);
  t.true(trials.every(({ config }) => config.keep === "none" && config.resume && config.threads === 1));
  t.true(trials.every(({ versions }) => versions.torch !== "" && versions.steadytune !== ""));
});

test("a trial's id follows what its files hold and not where they lie", async (t) => {
  const folder = place(t);
  const { trials } = await planTrials(ticketStudy(folder), join(folder, "out"));
  const elsewhere = temporaryFolder(t);
  cpSync(folder, elsewhere, { recursive: true });
  t.deepEqual(ids((await planTrials(ticketStudy(elsewhere), join(elsewhere, "other"))).trials), ids(trials));
});

const decisive: [what: string, change: (folder: string) => RunConfig][] = [
  [
    "a row more",
    (folder) => {
      const [, second = ""] = readFileSync(join(folder, "tickets.csv"), "utf8").split("\n");
      appendFileSync(join(folder, "tickets.csv"), `${second}\n`);
      return {};
    },
  ],
  [
    "another weight",
    (folder) => {
      const path = join(folder, "tiny-bert/model.safetensors");
      const bytes = readFileSync(path);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(path, bytes);
      return {};
    },
  ],
  ["another learning rate", () => ({ optimizer: { learningRate: 3e-5 } })],
  ["another number format", () => ({ dtype: "bfloat16" })],
];

for (const [what, change] of decisive) {
  test(`${what} makes another trial`, async (t) => {
    const folder = place(t);
    const before = ids((await planTrials(ticketStudy(folder), folder)).trials);
    const base = change(folder);
    const after = ids((await planTrials(ticketStudy(folder, { base }), folder)).trials);
    t.true(after.every((id) => !before.includes(id)));
  });
}

test("a trial's id follows what its own method and its intermediate task are made of, and not where they lie", async (t) => {
  const base: RunConfig = {
    methods: [{ name: "./mine.mjs" }],
    transfer: { data: "./other.csv", text: "body", label: "queue" },
  };
  const folder = place(t);
  copyFileSync(ticketsFile, join(folder, "other.csv"));
  writeFileSync(join(folder, "mine.mjs"), "export default () => () => ({});");
  const idsIn = async (where: string) =>
    ids((await planTrials(ticketStudy(where, { base }), join(where, "out"))).trials);
  const before = await idsIn(folder);
  const elsewhere = temporaryFolder(t);
  cpSync(folder, elsewhere, { recursive: true });
  t.deepEqual(await idsIn(elsewhere), before);

  appendFileSync(join(folder, "mine.mjs"), "// edited");
  const edited = await idsIn(folder);
  t.true(edited.every((id) => !before.includes(id)));
  const [, second = ""] = readFileSync(ticketsFile, "utf8").split("\n");
  appendFileSync(join(folder, "other.csv"), `${second}\n`);
  t.true((await idsIn(folder)).every((id) => !before.includes(id) && !edited.includes(id)));
});

test("threads are no part of a trial's id", async (t) => {
  const folder = place(t);
  const one = await planTrials(ticketStudy(folder, { base: { threads: 1 } }), folder);
  const two = await planTrials(ticketStudy(folder, { base: { threads: 2 } }), folder);
  t.deepEqual(ids(one.trials), ids(two.trials));
});

test("a column that does not exist is found before the first trial", async (t) => {
  const folder = place(t);
  await t.throwsAsync(planTrials(ticketStudy(folder, { base: { text: "boddy" } }), folder), { message: /boddy/ });
});

test("seeds that are added later go behind what was planned, which stays as it was", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const { manifest: first } = await planStudy(ticketStudy(folder, { seeds: 2 }), output);
  const { manifest: second } = await planStudy(ticketStudy(folder, { seeds: 3 }), output);
  t.deepEqual(second.trials.slice(0, 4), first.trials);
  t.deepEqual(
    second.trials.slice(4).map(({ seed }) => seed),
    ["seed 2", "seed 2"],
  );
  t.deepEqual(await readManifest(output), second);
  const { manifest: third } = await planStudy(ticketStudy(folder, { seeds: 1 }), output);
  t.deepEqual(third, second);
});

test("a cell that now means something else is refused, and taken over only by planning anew", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  await planStudy(ticketStudy(folder), output);
  const changed = ticketStudy(folder, { base: { batchSize: 8 } });
  const error = await t.throwsAsync(planStudy(changed, output), { instanceOf: ConfigError });
  t.regex(error.message, /another config for "short" on tickets, seed 0/);
  const { manifest } = await planStudy(changed, output, { replan: true });
  t.true(manifest.trials.every(({ config }) => config.batchSize === 8));
});

test("a study is not planned into a folder where its report would replace a study's file", async (t) => {
  const folder = place(t);
  writeFileSync(join(folder, "study.json"), '{"name": "mine", "stages": []}');
  await t.throwsAsync(planStudy(ticketStudy(folder), folder), {
    instanceOf: ConfigError,
    message: /study.json is a study's file/,
  });
  t.is(await readManifest(folder), null);
});

test("a study is not planned into a folder where its report would replace somebody's table", async (t) => {
  const folder = place(t);
  writeFileSync(join(folder, "table.csv"), "text,label\n");
  await t.throwsAsync(planStudy(ticketStudy(folder), folder), {
    instanceOf: ConfigError,
    message: /table.csv is no report's, since there is no study.json beside it/,
  });
  t.is(await readManifest(folder), null);
});

test("a cell whose config was edited is refused also where its seeds are others than those that are planned", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const { manifest: first } = await planStudy(ticketStudy(folder, { seeds: [0, 1] }), output);
  const changed = ticketStudy(folder, { seeds: [2, 3], base: { batchSize: 8 } });
  await t.throwsAsync(planStudy(changed, output), {
    instanceOf: ConfigError,
    message: /was planned with another config for "short" on tickets, seed 0/,
  });
  t.deepEqual(await readManifest(output), first);
  const { manifest } = await planStudy(changed, output, { replan: true });
  t.deepEqual(
    manifest.trials.map(({ recipe, seed, config }) => [recipe, seed, config.batchSize]),
    ["seed 2", "seed 3"].flatMap((seed) => ["short", "long"].map((recipe) => [recipe, seed, 8])),
  );
});

test("what does not change how a run comes out may differ from seed to seed", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  await planStudy(ticketStudy(folder, { seeds: [0] }), output);
  const { manifest } = await planStudy(ticketStudy(folder, { seeds: [1], base: { threads: 2 } }), output);
  t.deepEqual(
    manifest.trials.map(({ config }) => config.threads),
    [1, 1, 2, 2],
  );
});

test("trials of one run that are added with other steps are refused, and more of the same are not", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const data = { data: join(folder, "tickets.csv"), text: "body", label: "queue", maxLength: 32 };
  const config: RunConfig = { model: join(folder, "tiny-bert"), ...data, steps: 6 };
  await planStudy(studyOfTrials(config, 3), output);
  await t.throwsAsync(planStudy(studyOfTrials({ ...config, seed: 5, steps: 12 }, 2), output), {
    instanceOf: ConfigError,
    message: /was planned with another config for "run" on tickets, seed 0/,
  });
  const { manifest } = await planStudy(studyOfTrials({ ...config, seed: 5 }, 2), output);
  t.deepEqual(
    manifest.trials.map(({ seed }) => seed),
    ["seed 0", "seed 1", "seed 2", "seed 5", "seed 6"],
  );
});

const moved: [key: "data" | "weights" | "transfer", message: RegExp][] = [
  ["data", /another content of the data files for "r" on toy, seed 0/],
  ["weights", /another model for "r" on toy, seed 0/],
  ["transfer", /another intermediate task for "r" on toy, seed 0/],
];

for (const [key, message] of moved) {
  test(`trials of one cell with other ${key} are told apart from those with another config, at any seed`, (t) => {
    for (const seed of [0, 1]) {
      const wanted = syntheticTrial("r", "toy", seed);
      const other = { ...wanted, id: "other", fingerprint: { ...wanted.fingerprint, [key]: "changed" } };
      t.throws(() => mergeTrials([syntheticTrial("r", "toy", 0)], [other], "runs/x"), { message });
    }
  });
}

test("a manifest of another kind is refused", async (t) => {
  const folder = temporaryFolder(t);
  t.is(await readManifest(folder), null);
  writeFileSync(join(folder, "manifest.jsonl"), '{"format":2}\n');
  await t.throwsAsync(readManifest(folder), { instanceOf: StateError });
  writeFileSync(join(folder, "manifest.jsonl"), "garbage\n");
  await t.throwsAsync(readManifest(folder), { instanceOf: StateError, message: /line 1 is not JSON/ });
});

test("a manifest reads back as it was written", async (t) => {
  const folder = temporaryFolder(t);
  const study = { format: 1, name: "n", title: "t", description: null } as const;
  const manifest = { study, trials: [syntheticTrial("r", "toy", 0), syntheticTrial("r", "toy", 1)] };
  await writeManifest(folder, manifest);
  t.deepEqual(await readManifest(folder), manifest);
});

test("as many workers as cores, trials and memory allow", (t) => {
  const machine = { cores: 8, freeBytes: 64e9 };
  t.is(shareMachine({ trials: 20, weightBytes: 2e6, threads: 1 }, machine), 8);
  t.is(shareMachine({ trials: 20, weightBytes: 2e6, threads: 3 }, machine), 2);
  t.is(shareMachine({ trials: 2, weightBytes: 2e6, threads: 1 }, machine), 2);
  t.is(shareMachine({ trials: 20, weightBytes: 1.3e9, threads: 1 }, machine), 3);
  t.is(shareMachine({ trials: 20, weightBytes: 1.3e9, threads: 16 }, { cores: 8, freeBytes: 1e9 }), 1);
});
