import { mkdirSync, readFileSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { resolveConfig } from "#src/config/resolve.js";
import { OutputError } from "#src/errors.js";
import type { EncoderShape } from "#src/native/types.js";
import { diskNeeded, parameterCount, refuseFullDisk } from "#src/study/disk.js";
import { syntheticTrial } from "../helpers/synthetic-study.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig, ticketsFile } from "../helpers/tiny-run.js";

const bert: EncoderShape = {
  family: "bert",
  vocabularySize: 30522,
  embeddingSize: 1024,
  hiddenSize: 1024,
  layers: 24,
  heads: 16,
  intermediateSize: 4096,
  decoder: null,
  maxPositions: 512,
  positionOffset: 0,
  segmentTypes: 2,
  embeddingScale: 1,
  layerNormEps: 1e-12,
  activation: "gelu",
  hiddenDropout: 0.1,
  attentionDropout: 0.1,
  activationDropout: 0,
  classifierDropout: 0.1,
  outputs: 2,
  problem: "classification",
};

test("parameters are counted to a few percent", (t) => {
  const near = (shape: EncoderShape, count: number) => t.true(Math.abs(parameterCount(shape) / count - 1) < 0.02);
  // As transformers counts them, without a head.
  near(bert, 335_141_888);
  near({ ...bert, embeddingSize: 384, hiddenSize: 384, layers: 6, intermediateSize: 1536 }, 22_713_216);
  const decoder = { layers: 12, heads: 16, intermediateSize: 4096, startId: 2 };
  near({ ...bert, vocabularySize: 50265, maxPositions: 1024, layers: 12, decoder }, 406_291_456);
});

test("results grow with runs, steps and scored rows, states with workers, weights with what is kept", async (t) => {
  const folder = temporaryFolder(t);
  const config = tinyConfig(folder, { keep: "none", steps: 100 });
  const rows = readFileSync(ticketsFile, "utf8").trimEnd().split("\n").length - 1;
  const one = await diskNeeded([{ config, runs: 1 }], 1);
  t.true(one.results > 100 * 200 && one.results < 100 * 300 + rows * 300 + 20_000);
  t.is(one.weights, 0);
  const ten = await diskNeeded([{ config, runs: 10 }], 3);
  t.is(ten.results, 10 * one.results);
  t.is(ten.states, 3 * one.states);
  const longer = await diskNeeded([{ config: { ...config, steps: 1100 }, runs: 1 }], 1);
  t.is(longer.results - one.results, 1000 * 250);
  const kept = await diskNeeded([{ config: { ...config, keep: "best" }, runs: 10 }], 1);
  t.true(kept.weights > 0);
});

test("an intermediate task that runs share leaves its weights once", async (t) => {
  const folder = temporaryFolder(t);
  const other = join(folder, "other.csv");
  const config = resolveConfig({
    ...tinyConfig(folder, { keep: "none", steps: 10 }),
    transfer: { data: ticketsFile, text: "body", label: "queue" },
    data: other,
  });
  writeFileSync(other, readFileSync(ticketsFile));
  const two = await diskNeeded([{ config, runs: 2 }], 1);
  const four = await diskNeeded(
    [
      { config, runs: 2 },
      { config: { ...config, steps: 11 }, runs: 2 },
    ],
    1,
  );
  t.true(two.weights > 0);
  t.is(four.weights, two.weights);
});

test("a study that the disk has no room for is refused before it begins", async (t) => {
  const folder = temporaryFolder(t);
  const trial = { ...syntheticTrial("r", "toy", 0), config: tinyConfig(folder, { keep: "none", steps: 10 }) };
  const tooMany = { count: 1e12, flag: "--workers" as const };
  await t.notThrowsAsync(refuseFullDisk(folder, [trial], { count: 1, flag: "--workers" }));
  await t.throwsAsync(refuseFullDisk(folder, [trial], tooMany), {
    instanceOf: OutputError,
    message: /needs about [\d.]+ GB in .*, where [\d.]+ GB are free: 0\.\d MB stay, and [\d.]+ GB hold the states/,
  });
  const gone = { ...trial, config: { ...trial.config, data: join(folder, "gone.csv") } };
  await t.notThrowsAsync(refuseFullDisk(folder, [gone], tooMany), "the trial itself tells what is wrong with it");
});

test("states that runs left when they were cut off need no room a second time", async (t) => {
  const folder = temporaryFolder(t);
  const trial = { ...syntheticTrial("r", "toy", 0), config: tinyConfig(folder, { keep: "none", steps: 10 }) };
  const { bavail, bsize } = statfsSync(folder);
  const one = (await diskNeeded([{ config: trial.config, runs: 1 }], 1)).states;
  const running = { count: Math.ceil((1.01 * bavail * bsize) / one), flag: "--parallel" as const };
  await t.throwsAsync(refuseFullDisk(folder, [trial], running), { instanceOf: OutputError });
  const work = join(folder, "work", trial.id);
  mkdirSync(work, { recursive: true });
  writeFileSync(join(work, "state.bin"), "");
  // A hole in a file takes no room on the disk; its size counts.
  truncateSync(join(work, "state.bin"), Math.ceil(0.1 * bavail * bsize));
  await t.notThrowsAsync(refuseFullDisk(folder, [trial], running));
});
