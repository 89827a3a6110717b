import { join } from "node:path";
import { llrd } from "../methods/llrd.js";
import type { Method } from "../methods/method.js";
import { composePlan } from "../methods/plan.js";
import { pretrainedWeightDecay } from "../methods/pretrained-weight-decay.js";
import { weightDecay } from "../methods/weight-decay.js";
import { toCheckpointName } from "../models/key-map.js";
import { learningRate } from "../training/schedule.js";
import { relativeError } from "./error.js";
import { openReferenceSession, type ReferenceOptions } from "./reference-session.js";
import { packReference, ReferenceFile } from "./reference.js";
import type { Recorder } from "./report.js";
import { tolerancesOf } from "./tolerances.js";

/** Learning rates are computed in double precision on both sides. */
const rateTolerance = 1e-12;

/** `trajectories.json`: what all runs share. */
export interface Trajectories {
  steps: number;
  peak_lr: number;
  warmup_steps: number;
  betas: [number, number];
  eps: number;
  max_grad_norm: number;
  /** Rows of each step. */
  order: number[][];
  weights: string;
  data: string;
  runs: Trajectory[];
}

export interface Trajectory {
  tag: string;
  debias: boolean;
  weight_decay: number;
  prior_weight_decay: number;
  llrd: number;
  accumulation: number;
  loss: number[];
  grad_norm: number[];
  lr: number[];
  /** By "layer.0" and so on. */
  l2_from_init: Record<string, number>;
  final_logits: number[][];
}

/** Twenty steps without dropout, by the product's own schedule and methods, against the reference run. */
export async function checkTrajectory(
  bundle: string,
  shared: Trajectories,
  run: Trajectory,
  options: ReferenceOptions,
  record: Recorder,
): Promise<void> {
  const name = `trajectory-${run.tag}`;
  const expected = await ReferenceFile.open(join(bundle, `${name}.safetensors`));
  const data = await ReferenceFile.open(join(bundle, shared.data));
  await using model = await openReferenceSession(join(bundle, shared.weights), options);
  const { session, config } = model;
  const { family, problem } = config.shape;
  const tolerances = tolerancesOf[options.dtype];
  const plan = composePlan(session.parameters, methodsOf(run));
  await session.setPlan(plan, { initSeed: 0, keepStart: true });

  const schedule = { peak: shared.peak_lr, steps: shared.steps, warmup: shared.warmup_steps / shared.steps };
  const rates = shared.order.map((_, i) => learningRate(i + 1, schedule));
  const results = await Promise.all(
    shared.order.map((rows, i) => {
      const parts = cut(rows, run.accumulation).map((part) => packReference(data, problem, part).packed);
      return session.train(parts, {
        step: i + 1,
        learningRate: rates[i]!,
        betas: shared.betas,
        eps: shared.eps,
        biasCorrection: run.debias,
        maxGradNorm: shared.max_grad_norm,
        orderSeed: 0,
        dropout: false,
      });
    }),
  );
  const series = (what: string, values: number[], reference: number[], tolerance: number): void => {
    record.tensors.add(`${name}/${what}`, [values.length], Float32Array.from(values));
    record.check(`${name}/${what}`, relativeError(values, reference), tolerance);
  };
  series("lr", rates, run.lr, rateTolerance);
  series(
    "loss",
    results.map(({ loss }) => loss),
    run.loss,
    tolerances.series,
  );
  series(
    "grad_norm",
    results.map(({ gradNorm }) => gradNorm),
    run.grad_norm,
    tolerances.series,
  );

  const distances = await session.distances();
  const layers = Object.keys(run.l2_from_init);
  const moved = layers.map((layer) => distances[layer.replace("layer.", "blocks.")] ?? NaN);
  series("l2_from_init", moved, Object.values(run.l2_from_init), tolerances.series);

  const { logits } = await session.forward(packReference(data, problem).packed);
  const reference = run.final_logits.flat();
  const logitsShape = [run.final_logits.length, config.shape.outputs];
  record.compare(`${name}/final_logits`, logitsShape, logits, reference, tolerances.finalLogits);

  const pairs = [];
  for (const parameter of session.parameters) {
    const key = toCheckpointName(family, parameter.name);
    const computed = await session.readParameter(parameter.name);
    record.tensors.add(`${name}/${key}`, parameter.shape, computed);
    pairs.push({ isKeyBias: parameter.name.endsWith("key.bias"), computed, reference: expected.get(key).values });
  }
  record.compareAll(
    `${name}/parameters`,
    pairs.filter(({ isKeyBias }) => !isKeyBias),
    tolerances.parameters,
  );
  record.compareAll(
    `${name}/key-biases`,
    pairs.filter(({ isKeyBias }) => isKeyBias),
    tolerances.keyBiases,
  );
}

function methodsOf(run: Trajectory): Method[] {
  return [
    ...(run.weight_decay > 0 ? [weightDecay(run.weight_decay)] : []),
    ...(run.prior_weight_decay > 0 ? [pretrainedWeightDecay(run.prior_weight_decay, { scaledByLr: true })] : []),
    ...(run.llrd < 1 ? [llrd(run.llrd)] : []),
  ];
}

function cut(rows: number[], parts: number): number[][] {
  const size = Math.ceil(rows.length / parts);
  return Array.from({ length: parts }, (_, i) => rows.slice(i * size, (i + 1) * size));
}
