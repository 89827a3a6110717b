// One model on one task's token mix: steadytune, transformers' Trainer and the machine's rates, by turns.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { SetupError } from "../setup/setup-error.mjs";
import { adamwBytes, floorMs, forwardFlop, trainingFlop } from "./floor.mjs";
import { median } from "./rates.mjs";
import { Side } from "./side.mjs";
import { batchSize, learningRate, maxLength, seed } from "./workload.mjs";

/** The first steps of both sides warm caches and memory pools up. */
export const warmUpSteps = 3;

const script = (name) => fileURLToPath(new URL(name, import.meta.url));

/**
 * @param {{ name: string, model: string, init: string, task: string, data: string, dtype: string }} job
 * @param {{ rounds: number, steps: number, threads: number, python: string | null, folder: string }} settings
 *   `folder`: for temporary files. Without a python steadytune and the floor are measured alone.
 */
export async function compare(job, { rounds, steps, threads, python, folder }) {
  const { name, task, dtype } = job;
  const rows = join(folder, `${task}.jsonl`);
  const outputs = await writeRows(rows, job, warmUpSteps + rounds * steps);
  const sides = [];
  try {
    const start = async (command, args) => {
      const { side, ready } = await Side.start(command, args);
      sides.push(side);
      return { side, ready };
    };
    const shared = { rounds, steps, warmUpSteps };
    const { side: ours, ready } = await start(process.execPath, [
      script("serve-steadytune.mjs"),
      JSON.stringify({ ...job, ...shared, threads }),
    ]);
    const trainer =
      python === null ? null : await start(python, trainerArguments(job, { rows, outputs, ...shared }, ready));
    const { side: rates } = await start(process.execPath, [
      script("serve-rates.mjs"),
      JSON.stringify({ shape: ready.shape, dtype, threads: ready.threads }),
    ]);

    const measured = [];
    for (let round = 1; round <= rounds; round++) {
      console.error(`${name}, ${task}, ${dtype}: round ${round} of ${rounds}`);
      measured.push(await oneRound({ ours, rates, trainer: trainer?.side ?? null }, ready.shape, dtype, round));
    }
    const ends = {
      steadytune: await ours.ask("finish"),
      ...(trainer && { trainer: await trainer.side.ask("finish") }),
    };
    const ofEach = (what) => Object.fromEntries(Object.entries(ends).map(([side, end]) => [side, end[what]]));
    for (const side of sides) await side.close();
    return {
      ...{ model: name, parameters: ready.parameters, task, dtype, threads: ready.threads },
      tokensPerStep: Math.round(mean(measured.map(({ tokens }) => tokens))),
      training: summary(measured.map(({ training }) => training)),
      evaluation: summary(measured.map(({ evaluation }) => evaluation)),
      peakMemoryBytes: ofEach("peakMemoryBytes"),
      losses: ofEach("losses"),
      rates: Object.fromEntries(
        ["training", "forward", "large", "copy"].map((what) => [
          what,
          median(measured.map((round) => round.rates[what])),
        ]),
      ),
      versions: { ...ready.versions, ...(trainer && trainer.ready.versions) },
    };
  } finally {
    for (const side of sides) side.stop();
  }
}

/** Writes the training rows in the order in which steadytune takes them; resolves to the classifier's outputs. */
async function writeRows(path, { task, data }, steps) {
  const { loadTask } = await import("../../dist/data/load-task.js");
  const { permutation } = await import("../../dist/random/permutation.js");
  const { task: info, train } = await loadTask({ task, data, protocol: "paper", seed });
  if (steps * batchSize > train.length) {
    throw new SetupError(
      `${task} has ${train.length} training rows, too few for ${steps} steps of ${batchSize}.`,
      "Lower --rounds or --steps.",
    );
  }
  const order = permutation(train.length, { seed, epoch: 0 }).slice(0, steps * batchSize);
  const lines = Array.from(order, (index) => {
    const { text, pair, label } = train[index];
    return JSON.stringify({ text, pair, label });
  });
  await writeFile(path, lines.join("\n"));
  return info.problem === "regression" ? 1 : info.labels.length;
}

function trainerArguments({ model, init, dtype }, { rows, outputs, rounds, steps }, { threads }) {
  const flags = {
    ...{ model, init, rows, outputs, dtype, threads, rounds, steps },
    ...{
      "warm-up-steps": warmUpSteps,
      "batch-size": batchSize,
      "max-length": maxLength,
      "learning-rate": learningRate,
    },
  };
  return [script("trainer.py"), ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)])];
}

/** Steps, then the same rows without training, then the machine; who goes first changes from round to round. */
async function oneRound({ ours, trainer, rates }, shape, dtype, round) {
  const both = async (request) => {
    const turns = [
      ["steadytune", ours],
      ["trainer", trainer],
    ].filter(([, side]) => side !== null);
    if (round % 2 === 0) turns.reverse();
    const answers = {};
    for (const [name, side] of turns) answers[name] = await side.ask(request);
    return answers;
  };
  const trained = await both("train");
  const evaluated = await both("evaluate");
  const { rowLengths, movedElements } = trained.steadytune;
  const tokens = mean(rowLengths.map((lengths) => lengths.reduce((a, b) => a + b)));
  const rate = await rates.ask(`measure ${Math.round(tokens)} ${Math.round(evaluated.steadytune.tokensPerPass)}`);
  const floor = (flopOf, flopPerSecond, bytes) =>
    mean(
      rowLengths.map((lengths) =>
        floorMs({ flop: flopOf(shape, lengths), bytes }, { flopPerSecond, bytesPerSecond: rate.copy }),
      ),
    );
  const millisecondsOf = (answers, floorOfRound) => ({
    steadytune: answers.steadytune.ms,
    ...(trainer && { trainer: answers.trainer.ms }),
    floor: floorOfRound,
  });
  return {
    tokens,
    rates: rate,
    training: millisecondsOf(trained, floor(trainingFlop, rate.training, adamwBytes(movedElements))),
    evaluation: millisecondsOf(evaluated, floor(forwardFlop, rate.forward, 0)),
  };
}

/**
 * Milliseconds of a step on each side, with the ratios of each round, whose sides saw the same rows and the same load
 * of the machine.
 */
function summary(rounds) {
  const spread = (values) => ({
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    rounds: values,
  });
  const of = (value) => (rounds.every((round) => value(round) !== undefined) ? spread(rounds.map(value)) : null);
  return {
    steadytuneMs: of(({ steadytune }) => steadytune),
    trainerMs: of(({ trainer }) => trainer),
    floorMs: of(({ floor }) => floor),
    timesAsFast: of(({ steadytune, trainer }) => (trainer === undefined ? undefined : trainer / steadytune)),
    shareOfFloor: of(({ steadytune, floor }) => floor / steadytune),
  };
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
