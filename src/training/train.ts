import type { ResolvedConfig } from "../config/schema.js";
import { AbortedError, ConfigError, DivergedError } from "../errors.js";
import { selectionMetric } from "../metrics/selection.js";
import { keepsDropout } from "../methods/mixout.js";
import type { Method } from "../methods/method.js";
import { StepBatches, tokensIn } from "./batches.js";
import { isBetter } from "./best.js";
import { evaluationPoints } from "./evaluation-points.js";
import type { RunEvent } from "./events.js";
import { finish } from "./finish.js";
import { forwardSplit } from "./evaluate.js";
import { preparedKey, type Prepared } from "./prepare.js";
import type { RunResult } from "./result.js";
import { openRunFolder, type RunFolder } from "./run-folder.js";
import { learningRate, totalSteps } from "./schedule.js";
import { labelsOf } from "./score.js";
import { startOrResume } from "./run.js";
import { bestSlot } from "./state.js";
import { metrics } from "../metrics/metrics.js";

export interface TrainOptions {
  /** Saves the state and rejects with AbortedError. */
  signal?: AbortSignal | undefined;
  onEvent?: ((event: RunEvent) => void) | undefined;
  /** Methods of the caller's own, composed after those of the config. */
  methods?: readonly Method[] | undefined;
}

/** Steps in the native queue behind the one at work, so that the device never waits for JavaScript. */
const stepsAhead = 2;

/**
 * Trains one trial into `folder` on what `prepare` made. `folder` may hold an unfinished run of the same config: with
 * `config.resume` it goes on, without it is refused; a finished one is returned as it stands when `config.resume` is
 * set. A trial that diverged is a result like any other.
 */
export async function train(
  prepared: Prepared,
  config: ResolvedConfig,
  folder: string,
  options: TrainOptions = {},
): Promise<RunResult> {
  if (preparedKey(config) !== prepared.key) {
    throw new ConfigError("this config needs another model, other data or another engine than what was prepared", {
      hint: "prepare it by itself; preparedKey tells which configs can share",
    });
  }
  await using place = await openRunFolder(folder, config);
  return place.finished ?? (await trainIn(place, prepared, config, options));
}

/** The same in a folder that is open. */
export async function trainIn(
  place: RunFolder,
  prepared: Prepared,
  config: ResolvedConfig,
  { signal, onEvent, methods }: TrainOptions,
): Promise<RunResult> {
  const { session, encoded, data } = prepared;
  const batches = new StepBatches(encoded.train, config);
  const steps = totalSteps(config, batches.stepsPerEpoch);
  const selectedBy = selectionMetric(data.task, config);
  const { optimizer, orderSeed, diagnosticsEvery } = config;
  const dropout = keepsDropout(config.methods);

  await using run = await startOrResume(place, prepared, config, { steps, onEvent, methods });

  const submit = (step: number) => {
    const parts = batches.parts(step);
    const rate = learningRate(step, { peak: optimizer.learningRate, steps, warmup: optimizer.warmup });
    const result = session.train(parts, { ...optimizer, step, learningRate: rate, orderSeed, dropout });
    const diagnosed = diagnosticsEvery !== undefined && (step % diagnosticsEvery === 0 || step === steps);
    // Asked for behind the step and before the next one, so that the device goes on.
    const distances = diagnosed ? session.distances() : null;
    for (const asked of [result, distances]) asked?.catch(() => {}); // awaited by `settle`: no failure is unhandled
    return { step, rate, tokens: tokensIn(parts), result, distances };
  };
  const settle = async ({ step, rate, tokens, result, distances }: ReturnType<typeof submit>): Promise<void> => {
    const { loss, gradNorm, finite } = await result;
    if (!finite) throw new DivergedError(`loss or gradient was not finite at step ${step}`, step);
    run.stepped(step, tokens, { epoch: batches.epochOf(step), loss, gradNorm, learningRate: rate });
    if (distances !== null) run.diagnosed(await distances, { gradNorm });
  };

  try {
    for (const point of evaluationPoints(steps, config.evaluations, config.protocol)) {
      if (point <= run.position.evaluatedAt) continue;

      const inFlight: ReturnType<typeof submit>[] = [];
      for (let step = run.position.step + 1; step <= point; step++) {
        inFlight.push(submit(step));
        // Asked once: a state may be taken only where no step is in flight, and either may turn true while steps settle.
        const [abort, save] = [signal?.aborted === true, run.saveIsDue];
        while (inFlight.length > (step === point || abort || save ? 0 : stepsAhead)) await settle(inFlight.shift()!);
        if (abort) throw new AbortedError();
        if (save) await run.save();
      }

      run.clock.enter("evaluate");
      const logits = await forwardSplit(session, encoded.validation, { batchSize: config.evaluationBatchSize, signal });
      const validation = metrics(data.task, logits, labelsOf(encoded.validation));
      const best = isBetter(selectedBy, validation, run.position.best);
      // The last one's parameters stay where they are.
      if (best && point < steps) await session.snapshot(bestSlot);
      run.evaluated(point, validation, best);
      run.clock.enter("train");
      if (run.saveIsDue) await run.save();
    }
  } catch (error) {
    if (error instanceof AbortedError) await run.saveNow();
    if (!(error instanceof DivergedError)) throw error;
    run.diverged(error.step);
  }
  return await finish(run, place, prepared, config, { selectedBy, steps, signal });
}
