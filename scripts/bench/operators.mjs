// Where a step's time goes: by operator, each beside its own floor.

import { adamwBytes, floorMs, forwardFlop, trainingFlop } from "./floor.mjs";
import { copyRateFor, copyRates, matrixRates } from "./rates.mjs";
import { markdownTable } from "./table.mjs";
import { Workload } from "./workload.mjs";

const warmUpSteps = 3;
/** Operators below this share of a step are printed as one line. */
const leastShare = 0.005;

/**
 * Prints one table for training and one for evaluation.
 *
 * @param {object} job what `Workload.open` takes, with `name`, and `steps` that are watched after the first few
 */
export async function printOperators({ steps, ...job }) {
  const last = warmUpSteps + steps;
  const workload = await Workload.open({ ...job, steps: last });
  try {
    const { session, shape } = workload;
    await workload.train(1, warmUpSteps);
    const training = await profiled(workload, warmUpSteps, last, (step) => workload.train(step, step));
    const watched = Array.from({ length: steps }, (_, i) => workload.rowsOf(warmUpSteps + 1 + i));
    const tokens = Math.round(mean(watched.map((rows) => rows.tokens)));
    await workload.evaluate(1, 1);
    const evaluation = await profiled(workload, warmUpSteps, last, (step) => workload.evaluate(step, step));

    const rates = {
      products: {
        float32: await matrixRates(session, shape, { tokens, dtype: "float32" }),
        bfloat16: await matrixRates(session, shape, { tokens, dtype: "bfloat16" }),
      },
      copies: await copyRates(session),
    };
    const memoryRate = [...rates.copies.values()].at(-1);
    const { [job.dtype]: products } = rates.products;
    const floorOf = (flopOf, kind, bytes) =>
      mean(
        watched.map(({ rowLengths }) =>
          floorMs(
            { flop: flopOf(shape, rowLengths), bytes },
            { flopPerSecond: products[kind], bytesPerSecond: memoryRate },
          ),
        ),
      );

    console.log(
      [
        `\n## ${job.name}, ${job.task}, ${job.dtype}, ${session.threads} threads, ${steps} steps of ${tokens} tokens on average\n`,
        ...Object.entries(rates.products).map(
          ([dtype, { forward, training, large }]) =>
            `${dtype} products, TFLOP/s: ${tera(training)} at the model's shapes (${tera(forward)} forward), ${tera(large)} at 2048^3`,
        ),
        `copies, GB/s: ${[...rates.copies].map(([bytes, rate]) => `${(rate / 1e9).toFixed(1)} at ${mebibytes(bytes)}`).join(", ")}`,
      ].join("\n"),
    );
    const moved = adamwBytes(workload.movedElements);
    printTable("training step", training, rates, "training", floorOf(trainingFlop, "training", moved));
    printTable("evaluation batch", evaluation, rates, "forward", floorOf(forwardFlop, "forward", 0));
  } finally {
    await workload.close();
  }
}

/** Mean over the steps, by operator. Each step is watched alone, since its number of tokens is part of the shapes. */
async function profiled(workload, before, last, run) {
  const { session } = workload;
  const steps = last - before;
  const operators = new Map();
  let seconds = 0;
  await session.profile(true);
  for (let step = before + 1; step <= last; step++) {
    await run(step);
    const profile = await session.takeProfile();
    seconds += profile.seconds / steps;
    for (const operator of profile.operators) {
      const key = described(operator, workload.rowsOf(step).tokens);
      const total = operators.get(key) ?? { dtype: operator.dtype, calls: 0, seconds: 0, flop: 0, bytes: 0 };
      for (const what of ["calls", "seconds", "flop", "bytes"]) total[what] += operator[what] / steps;
      operators.set(key, total);
    }
  }
  await session.profile(false);
  return { operators, seconds };
}

/** "mm [T, 384] x [384, 1152]": both sides of a product, of others the first tensor. */
function described({ name, shapes }, tokens) {
  const short = name.replace("aten::", "").replace("steadytune::", "st::");
  // Before the sides of a product stands what they are added to, and behind them where the result goes.
  const begin = { mm: 0, addmm: 1, addmm_: 1 }[short];
  const sides = begin === undefined ? shapes.slice(0, 1) : shapes.slice(begin, begin + 2);
  const axes = sides.length === 2 ? [...sides[0], sides[1][1]] : sides.flat();
  // One of them is that of the tokens; others may be as long by chance.
  const ofTokens = axes.findIndex((size) => size === tokens || size === productRows(tokens));
  const names = axes.map((size, axis) => (axis === ofTokens ? "T" : size));
  const written = sides.length === 2 ? [names.slice(0, 2), names.slice(1)] : sides.map(() => names);
  return [short, written.map((side) => `[${side.join(", ")}]`).join(" x ")].join(" ").trim();
}

/** Rows that bfloat16 products over this many tokens are made with: product_rows of binding/kernels/tokens.h. */
function productRows(tokens) {
  const step = Math.max(16, 2 ** Math.floor(Math.log2(tokens)) / 32);
  return Math.ceil(tokens / step) * step;
}

function printTable(title, { operators, seconds }, rates, kind, stepFloorMs) {
  const lines = [...operators].map(([name, operator]) => ({
    name,
    ...operator,
    floor: floorOf(operator, rates, kind),
  }));
  lines.sort((a, b) => b.seconds - a.seconds);
  const shown = lines.filter(({ seconds: own }) => own >= leastShare * seconds);
  const small = lines.filter((line) => !shown.includes(line));
  const sum = (list, what) => list.reduce((total, line) => total + line[what], 0);
  const all = (name, list) => ({
    name,
    ...Object.fromEntries(["calls", "seconds", "floor"].map((what) => [what, sum(list, what)])),
  });

  const row = ({ name, calls, seconds: own, floor }) => [
    name,
    calls === undefined ? "" : calls.toFixed(0),
    (1000 * own).toFixed(2),
    percent(own / seconds),
    floor === undefined ? "" : (1000 * floor).toFixed(2),
    floor === undefined ? "" : percent(floor / own),
  ];
  const table = [
    [`operator (${title})`, "calls", "ms", "of step", "floor, ms", "of floor"],
    ...shown.map(row),
    ...(small.length > 0 ? [row(all(`${small.length} smaller ones`, small))] : []),
    row({ name: "outside operators", seconds: seconds - sum(lines, "seconds") }),
    row({ name: "whole step", calls: sum(lines, "calls"), seconds, floor: stepFloorMs / 1000 }),
  ];
  console.log(`\n${markdownTable(table, 1)}`);
}

/** Seconds: arithmetic or memory traffic, whichever takes longer. Traffic that fits a cache is held to its rate. */
function floorOf({ dtype, flop, bytes, calls }, { products, copies }, kind) {
  const arithmetic = flop === 0 ? 0 : flop / (products[dtype] ?? products.float32)[kind];
  return Math.max(arithmetic, bytes / copyRateFor(copies, bytes / calls));
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const tera = (rate) => (rate / 1e12).toFixed(3);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const mebibytes = (bytes) => (bytes < 2 ** 20 ? `${bytes / 2 ** 10} KiB` : `${bytes / 2 ** 20} MiB`);
