import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { speedChart } from "./chart.mjs";
import { warmUpSteps } from "./compare.mjs";
import { describeDevice } from "./device.mjs";
import { markdownTable } from "./table.mjs";
import { batchSize, learningRate, maxLength } from "./workload.mjs";

/**
 * Prints the tables, writes <device>.json, and with a Trainer <device>.svg.
 *
 * @param {object[]} results of compare.mjs, at least one
 * @param {{ output: string, rounds: number, steps: number }} settings
 */
export async function writeResults(results, { output, rounds, steps }) {
  const device = describeDevice(results[0].threads);
  const settings = { batchSize, maxLength, learningRate, warmUpSteps, rounds, stepsPerRound: steps };
  await mkdir(output, { recursive: true });
  const json = join(output, `${device.fileName}.json`);
  const record = { device, date: new Date().toISOString().slice(0, 10), settings, results };
  await writeFile(json, `${JSON.stringify(record, rounded, 2)}\n`);
  console.log(`${device.name}; medians of ${rounds} rounds of ${steps}, with the least and the most\n`);
  for (const kind of ["training", "evaluation"]) console.log(`${table(results, kind)}\n`);
  console.log(`wrote ${json}`);
  if (results.some(({ training }) => training.trainerMs === null)) return;
  const svg = join(output, `${device.fileName}.svg`);
  await writeFile(svg, chartOf(results, device));
  console.log(`wrote ${svg}`);
}

function chartOf(results, device) {
  const panel = (title, kind) => ({
    title,
    groups: results.map(({ [kind]: { timesAsFast, shareOfFloor } }) => ({
      timesAsFast,
      attainable: timesAsFast.median / shareOfFloor.median,
    })),
  });
  return speedChart({
    title: "Times as fast as transformers' Trainer",
    subtitle: `${device.name}; same rows, dtype and threads, by turns`,
    peer: "Trainer",
    labels: results.map(({ model, task, dtype }) => `${model.replace(/ \(.*/, "")}\n${task}, ${dtype}`),
    panels: [panel("training step", "training"), panel("evaluation batch", "evaluation")],
  });
}

function table(results, kind) {
  const header = [
    ...[kind === "training" ? "training step" : "evaluation batch", "task", "dtype", "tokens"],
    ...["Trainer, ms", "steadytune, ms", "times as fast", "floor, ms", "share of floor"],
    ...(kind === "training" ? ["peak memory, MiB (Trainer)"] : []),
  ];
  const rows = results.map((result) => {
    const { trainerMs, steadytuneMs, timesAsFast, floorMs, shareOfFloor } = result[kind];
    const { steadytune, trainer } = result.peakMemoryBytes;
    const spread = (value, show) =>
      value === null ? "" : `${show(value.median)} (${show(value.min)}..${show(value.max)})`;
    return [
      ...[result.model, result.task, result.dtype, String(result.tokensPerStep)],
      spread(trainerMs, whole),
      spread(steadytuneMs, whole),
      spread(timesAsFast, (value) => value.toFixed(2)),
      spread(floorMs, whole),
      spread(shareOfFloor, (value) => `${(100 * value).toFixed(0)} %`),
      ...(kind === "training"
        ? [`${mebibytes(steadytune)}${trainer === undefined ? "" : ` (${mebibytes(trainer)})`}`]
        : []),
    ];
  });
  return markdownTable([header, ...rows], 3);
}

const whole = (value) => value.toFixed(value < 10 ? 1 : 0);
const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(0);

/** Five digits say what there is to say. */
function rounded(_, value) {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
}
