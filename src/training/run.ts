import { createHash } from "node:crypto";
import type { ResolvedConfig } from "../config/schema.js";
import type { Method } from "../methods/method.js";
import type { ParameterPlan } from "../native/types.js";
import { biasRatio } from "./bias-ratio.js";
import { RunClock } from "./clock.js";
import type { RunEvent } from "./events.js";
import { configHash } from "./identity.js";
import { RunLog } from "./log.js";
import { planOf } from "./plan.js";
import type { Prepared } from "./prepare.js";
import type { Scores } from "./result.js";
import type { RunFolder } from "./run-folder.js";
import {
  environmentChanges,
  restoreState,
  StateKeeper,
  type Identity,
  type Position,
  type SavedState,
} from "./state.js";
import { removeEventFiles, TensorboardLog } from "./tensorboard.js";

/** What goes into the log is what an unbroken and a resumed run have in common, times apart. */
const logged: ReadonlySet<RunEvent["type"]> = new Set(["start", "step", "diagnostics", "evaluation", "diverged"]);

interface Parts {
  position: Position;
  identity: Identity;
  clock: RunClock;
  log: RunLog;
  /** Null unless the config asks for it. */
  tensorboard: TensorboardLog | null;
  keeper: StateKeeper;
  prepared: Prepared;
  config: ResolvedConfig;
  steps: number;
  onEvent: (event: RunEvent) => void;
}

/** A run under way: where it stands, its log, its clock and its state on disk. */
export class Run implements AsyncDisposable {
  readonly clock: RunClock;
  readonly #parts: Parts;
  #divergedAt: number | null = null;

  constructor(parts: Parts) {
    this.clock = parts.clock;
    this.#parts = parts;
  }

  get position(): Readonly<Position> {
    return this.#parts.position;
  }

  get divergedAt(): number | null {
    return this.#divergedAt;
  }

  get saveIsDue(): boolean {
    return this.#parts.keeper.due;
  }

  stepped(
    step: number,
    tokens: number,
    record: { epoch: number; loss: number; gradNorm: number; learningRate: number },
  ): void {
    const { position, steps, config } = this.#parts;
    const { maxGradNorm } = config.optimizer;
    position.step = step;
    position.tokens += tokens;
    position.window.steps += 1;
    position.window.loss += record.loss;
    if (maxGradNorm > 0 && record.gradNorm > maxGradNorm) position.window.clipped += 1;
    this.record({ type: "step", step, steps, ...record, tokens: position.tokens, elapsedMs: this.clock.elapsedMs });
  }

  /** `distances` are those after the step that was recorded last. */
  diagnosed(distances: Record<string, number>, { gradNorm }: { gradNorm: number }): void {
    const { position, steps, config } = this.#parts;
    const { step, window } = position;
    position.window = { steps: 0, loss: 0, clipped: 0 };
    this.record({
      type: "diagnostics",
      step,
      steps,
      distances,
      gradNorm,
      biasRatio: biasRatio(step, config.optimizer.betas),
      loss: window.loss / window.steps,
      clippedShare: window.clipped / window.steps,
      elapsedMs: this.clock.elapsedMs,
    });
  }

  evaluated(step: number, validation: Scores, best: boolean): void {
    const { position, steps, keeper } = this.#parts;
    position.evaluatedAt = step;
    if (best) position.best = { step, validation };
    this.record({ type: "evaluation", step, steps, validation, best, elapsedMs: this.clock.elapsedMs });
    keeper.want();
  }

  diverged(step: number): void {
    this.#divergedAt = step;
    this.record({ type: "diverged", step, elapsedMs: this.clock.elapsedMs });
  }

  record(event: RunEvent): void {
    const { log, tensorboard, onEvent } = this.#parts;
    if (logged.has(event.type)) log.append(event);
    tensorboard?.append(event);
    onEvent(event);
  }

  /** Begins to save the state; resolves when training may go on. No step may be in flight. */
  async save(): Promise<void> {
    const { position, identity, clock, log, keeper, prepared } = this.#parts;
    const state: SavedState = {
      position: { ...position, window: { ...position.window } },
      identity,
      versions: prepared.versions,
      logBytes: log.flush(),
      seconds: clock.seconds,
    };
    await keeper.begin(state);
  }

  /** Saves the state and waits until it is on the disk. */
  async saveNow(): Promise<void> {
    await this.#parts.keeper.settled();
    await this.save();
    await this.#parts.keeper.settled();
  }

  /** Waits until nothing is being written. */
  async settled(): Promise<void> {
    await this.#parts.keeper.settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.keeper[Symbol.asyncDispose]();
    this.#parts.log[Symbol.dispose]();
    this.#parts.tensorboard?.[Symbol.dispose]();
  }
}

/**
 * Brings the session to where the run stands: its start (the base weights under the plan of its methods), or the state
 * that an earlier life of it saved.
 *
 * @throws StateError when the state in the folder is damaged or belongs to another run.
 */
export async function startOrResume(
  place: RunFolder,
  prepared: Prepared,
  config: ResolvedConfig,
  options: {
    steps: number;
    onEvent?: ((event: RunEvent) => void) | undefined;
    methods?: readonly Method[] | undefined;
  },
): Promise<Run> {
  const { steps, onEvent = () => {}, methods = [] } = options;
  const { session, data, versions } = prepared;
  const plan = await planOf(prepared, config, methods);
  const identity = {
    config: configHash({ ...place.outcomeOf(config), transfer: prepared.transfer?.id }),
    data: prepared.dataHash,
    plan: hash(plan),
  };

  await prepared.restoreBase();
  await session.setPlan(plan, { initSeed: config.initSeed, keepStart: config.diagnosticsEvery !== undefined });
  const saved = config.resume ? await restoreState(place.files.state, session, identity) : null;
  if (!saved) {
    await place.begin();
    removeEventFiles(place.path);
  }
  const clock = new RunClock(saved?.seconds);
  const log = new RunLog(place.files.log, saved?.logBytes ?? 0);

  const run = new Run({
    position: saved?.position ?? {
      step: 0,
      evaluatedAt: 0,
      tokens: 0,
      best: null,
      window: { steps: 0, loss: 0, clipped: 0 },
    },
    identity,
    clock,
    log,
    tensorboard: config.tensorboard
      ? new TensorboardLog(place.path, { log: place.files.log, elapsedMs: clock.elapsedMs })
      : null,
    keeper: new StateKeeper(place.files.state, session, {
      everySeconds: config.stateEvery,
      onSaved: (step) => onEvent({ type: "state", step }),
    }),
    prepared,
    config,
    steps,
    onEvent,
  });

  const rows = { train: data.train.length, validation: data.validation.length, test: data.test.length };
  const { name: task, metric } = data.task;
  const { initialised, transfer } = prepared;
  const start: RunEvent = { type: "start", task, metric, steps, rows, initialised: [...initialised], transfer };
  if (saved) {
    onEvent(start);
    onEvent({ type: "resume", step: saved.position.step, steps });
    const changes = environmentChanges(saved.versions, versions);
    if (changes.length > 0) {
      const message = `resumed with another ${changes.join(", ")}: the result may differ in its last bits`;
      onEvent({ type: "warning", message });
    }
  } else {
    run.record(start);
  }
  return run;
}

function hash(plan: ParameterPlan[]): string {
  return createHash("sha256").update(JSON.stringify(plan)).digest("hex").slice(0, 32);
}
