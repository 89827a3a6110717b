// A model with the batches of one task, in a session of its own: what is measured.

import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { movedElements } from "./floor.mjs";

export const batchSize = 32;
export const maxLength = 128;
export const seed = 0;
export const learningRate = 5e-5;

/** Steps in the native queue behind the one at work, as in src/training/train.ts. */
const stepsAhead = 2;

/** The shape of BERT-base, 110 M parameters, in the words of its config.json. */
const bertBase = {
  model_type: "bert",
  vocab_size: 30522,
  hidden_size: 768,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  intermediate_size: 3072,
  hidden_act: "gelu",
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  layer_norm_eps: 1e-12,
  initializer_range: 0.02,
  pad_token_id: 0,
};

/**
 * A folder with the shape of BERT-base and the tokenizer of another model of its vocabulary; without weights, which are
 * drawn.
 *
 * @param {string} tokenizerFolder
 * @param {string} parent
 */
export async function bertBaseFolder(tokenizerFolder, parent) {
  const folder = join(parent, "bert-base-shape");
  await mkdir(folder);
  for (const name of await readdir(tokenizerFolder)) {
    if (/^(vocab|tokenizer|special_tokens|added_tokens)/.test(name)) {
      await copyFile(join(tokenizerFolder, name), join(folder, name));
    }
  }
  await writeFile(join(folder, "config.json"), JSON.stringify(bertBase));
  return folder;
}

/** Training of one task by the product's own parts, a few steps at a time. */
export class Workload {
  #folder;
  #prepared;
  #config;
  #batches;
  #rate;
  #words = new Set();

  /**
   * @param {{ model: string, task: string, data: string, dtype: "float32" | "bfloat16", threads: number,
   *   steps: number, init?: "checkpoint" | "random" }} options `steps`: of the whole schedule
   */
  static async open({ model, task, data, dtype, threads, steps, init = "checkpoint" }) {
    const { resolveConfig, prepare } = await import("../../dist/index.js");
    const workload = new Workload();
    workload.#folder = await mkdtemp(join(tmpdir(), "steadytune-bench-"));
    workload.#config = resolveConfig({
      ...{ model, task, data, dtype, threads, init, seed, batchSize, maxLength, steps, device: "cpu" },
      optimizer: { learningRate },
      output: workload.#folder,
    });
    workload.#prepared = await prepare(workload.#config);
    await workload.#begin();
    return workload;
  }

  async #begin() {
    const [{ planOf }, { StepBatches }, { learningRate: scheduled }] = await Promise.all([
      import("../../dist/training/plan.js"),
      import("../../dist/training/batches.js"),
      import("../../dist/training/schedule.js"),
    ]);
    const { initSeed, optimizer, steps } = this.#config;
    const plan = await planOf(this.#prepared, this.#config, []);
    await this.session.setPlan(plan, { initSeed, keepStart: false });
    this.#batches = new StepBatches(this.#prepared.encoded.train, this.#config);
    this.#rate = (step) => scheduled(step, { peak: optimizer.learningRate, steps, warmup: optimizer.warmup });
  }

  get session() {
    return this.#prepared.session;
  }

  get shape() {
    return this.#prepared.model.config.shape;
  }

  get versions() {
    return this.#prepared.versions;
  }

  /** @param {number} step from 1 */
  batch(step) {
    return this.#batches.parts(step)[0];
  }

  /** @returns {{ rowLengths: number[], tokens: number }} */
  rowsOf(step) {
    const { rowOffsets } = this.batch(step);
    const rowLengths = Array.from(rowOffsets.subarray(1), (end, row) => end - rowOffsets[row]);
    return { rowLengths, tokens: rowOffsets.at(-1) };
  }

  /** Parameters that AdamW has to move in the steps that were trained last. */
  get movedElements() {
    return movedElements(this.session.parameters, this.#words.size);
  }

  /**
   * The steps `first` .. `last`, counted from 1.
   *
   * @returns {Promise<{ ms: number, losses: number[] }>} wall-clock time of all of them
   */
  async train(first, last) {
    const losses = [];
    const inFlight = [];
    const begin = performance.now();
    for (let step = first; step <= last; step++) {
      inFlight.push(this.#submit(step));
      while (inFlight.length > (step === last ? 0 : stepsAhead)) losses.push((await inFlight.shift()).loss);
    }
    return { ms: performance.now() - begin, losses };
  }

  #submit(step) {
    const { optimizer, orderSeed } = this.#config;
    const batch = this.batch(step);
    for (const id of batch.tokenIds) this.#words.add(id);
    return this.session.train([batch], {
      ...optimizer,
      step,
      learningRate: this.#rate(step),
      orderSeed,
      dropout: true,
    });
  }

  /**
   * Outputs for the rows of the steps `first` .. `last`, without dropout, as an evaluation computes them.
   *
   * @returns {Promise<{ ms: number, tokensPerPass: number }>}
   */
  async evaluate(first, last) {
    const [{ forwardSplit }, { evaluationBatches }] = await Promise.all([
      import("../../dist/training/evaluate.js"),
      import("../../dist/data/batches.js"),
    ]);
    const split = joined(Array.from({ length: last - first + 1 }, (_, i) => this.batch(first + i)));
    const begin = performance.now();
    await forwardSplit(this.session, split, { batchSize });
    const ms = performance.now() - begin;
    return { ms, tokensPerPass: split.tokenIds.length / evaluationBatches(split, batchSize).length };
  }

  async close() {
    await this.session.dispose();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** The rows of several batches, without labels. */
function joined(batches) {
  const all = (numbersOf) => Int32Array.from(batches.flatMap((batch) => [...numbersOf(batch)]));
  const lengths = all(({ rowOffsets }) => rowOffsets.subarray(1).map((end, row) => end - rowOffsets[row]));
  let end = 0;
  return {
    tokenIds: all(({ tokenIds }) => tokenIds),
    segmentIds: all(({ segmentIds }) => segmentIds),
    rowOffsets: Int32Array.from([0, ...lengths.map((length) => (end += length))]),
    rowNumbers: all(({ rowNumbers }) => rowNumbers),
    labels: null,
  };
}
