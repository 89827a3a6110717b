#!/usr/bin/env node
/**
 * Makes everything under configs/quickstart that is not written by hand: the sentences, and the tiny BERT, which
 * steadytune itself trains from random weights on other sentences of the same grammar. Both are committed; run this
 * only to change them. It takes some ten minutes:
 *
 *     npm run setup && node scripts/make-quickstart.mjs [--data-only]
 *
 * The sentences come out the same everywhere; the weights do where instruction set and version of libtorch are
 * the same.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { acceptabilityRows, auxiliaryRows, tsv } from "./make-quickstart/tasks.mjs";
import { writeUntrainedModel } from "./make-quickstart/model.mjs";
import { writeBody } from "./make-quickstart/body.mjs";

const target = fileURLToPath(new URL("../configs/quickstart/", import.meta.url));

async function writeRows(folder, { train, dev }) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "train.tsv"), tsv(train));
  await writeFile(join(folder, "dev.tsv"), tsv(dev));
}

await writeRows(join(target, "acceptability"), acceptabilityRows());

if (!process.argv.includes("--data-only")) {
  const { finetune } = await import("../dist/training/finetune.js");
  const work = await mkdtemp(join(tmpdir(), "steadytune-quickstart-"));
  try {
    await writeRows(join(work, "rules"), auxiliaryRows());
    await writeUntrainedModel(join(work, "model"));
    const run = finetune({
      model: join(work, "model"),
      init: "random",
      data: join(work, "rules"),
      output: join(work, "run"),
      epochs: 6,
      batchSize: 32,
      dropout: 0,
      maxLength: 64,
      optimizer: { learningRate: 7e-4 },
      evaluations: 40,
      threads: 1,
    });
    for await (const event of run) {
      if (event.type !== "evaluation") continue;
      const { step, steps, validation, elapsedMs } = event;
      const score = `accuracy ${validation.accuracy.toFixed(3)}, loss ${validation.loss.toFixed(3)}`;
      console.error(`step ${step} of ${steps}: ${score}, ${Math.round(elapsedMs / 1000)} s`);
    }
    await writeBody(join(work, "run", "best"), join(target, "model"));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
