import * as errors from "../errors.js";
import type {
  ArenaBuffer,
  EncoderShape,
  Engine,
  ForwardResult,
  NativeSession,
  NativeTensor,
  PackedBatch,
  ParameterInfo,
  ParameterPlan,
  ProductTiming,
  Profile,
  SessionOptions,
  StepOptions,
  StepResult,
} from "./types.js";
import { cudaProblem, loadAddon } from "./load.js";

/**
 * One model on its own native thread. Calls queue and run in order; see `NativeSession` for what each one does. Every
 * rejection is a `SteadytuneError`. Use with `await using`, or call `dispose()`: until then the memory is held.
 */
export class Session implements AsyncDisposable {
  readonly parameters: readonly ParameterInfo[];
  readonly threads: number;
  readonly #native: NativeSession;
  #disposal: Promise<void> | undefined;

  constructor(native: NativeSession) {
    this.#native = native;
    this.parameters = native.parameters;
    this.threads = native.threads;
  }

  load(tensors: Record<string, NativeTensor>): Promise<void> {
    return translated(this.#native.load(tensors));
  }

  setPlan(plan: ParameterPlan[], options: { initSeed: number; keepStart: boolean }): Promise<void> {
    return translated(this.#native.setPlan(plan, options));
  }

  train(parts: PackedBatch[], options: StepOptions): Promise<StepResult> {
    return translated(this.#native.train(parts, options));
  }

  forward(batch: PackedBatch, options: { hiddenStates: boolean } = { hiddenStates: false }): Promise<ForwardResult> {
    return translated(this.#native.forward(batch, options));
  }

  gradients(batch: PackedBatch): Promise<StepResult> {
    return translated(this.#native.gradients(batch));
  }

  readParameter(name: string): Promise<Float32Array> {
    return translated(this.#native.readParameter(name));
  }

  readGradient(name: string): Promise<Float32Array> {
    return translated(this.#native.readGradient(name));
  }

  bufferLength(buffer: ArenaBuffer): Promise<number> {
    return translated(this.#native.bufferLength(buffer));
  }

  readBuffer(buffer: ArenaBuffer, range?: { begin: number; end: number }): Promise<Float32Array> {
    return translated(this.#native.readBuffer(buffer, range));
  }

  writeBuffer(buffer: ArenaBuffer, values: Float32Array, range?: { begin: number }): Promise<void> {
    return translated(this.#native.writeBuffer(buffer, values, range));
  }

  snapshot(slot: string): Promise<void> {
    return translated(this.#native.snapshot(slot));
  }

  restore(slot: string): Promise<void> {
    return translated(this.#native.restore(slot));
  }

  dropSnapshot(slot: string): Promise<void> {
    return translated(this.#native.dropSnapshot(slot));
  }

  readSnapshot(slot: string, name: string): Promise<Float32Array> {
    return translated(this.#native.readSnapshot(slot, name));
  }

  distances(): Promise<Record<string, number>> {
    return translated(this.#native.distances());
  }

  profile(on: boolean): Promise<void> {
    return translated(this.#native.profile(on));
  }

  takeProfile(): Promise<Profile> {
    return translated(this.#native.takeProfile());
  }

  timeProduct(timing: ProductTiming): Promise<number[]> {
    return translated(this.#native.timeProduct(timing));
  }

  timeCopy(timing: { bytes: number; repeats: number }): Promise<number[]> {
    return translated(this.#native.timeCopy(timing));
  }

  peakMemoryBytes(): number {
    return this.#native.peakMemoryBytes();
  }

  peakDeviceMemoryBytes(): number {
    return this.#native.peakDeviceMemoryBytes();
  }

  recordedSteps(): number {
    return this.#native.recordedSteps();
  }

  abort(): void {
    this.#native.abort();
  }

  /** Ends the call at work at its next block, rejects those behind it, frees the memory. Safe to call twice. */
  dispose(): Promise<void> {
    this.#disposal ??= translated(this.#native.dispose());
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Makes a session; its memory is taken on the session's own thread, so that an error of it comes with the first call. */
export function createSession(
  shape: EncoderShape,
  { engine = "fused", ...options }: Omit<SessionOptions, "engine"> & { engine?: Engine },
): Session {
  const addon = loadAddon();
  const problem = options.device === "cuda" ? cudaProblem() : null;
  if (problem !== null) throw problem;
  try {
    return new Session(addon.createSession(shape, { engine, ...options }));
  } catch (error) {
    throw toSteadytuneError(error);
  }
}

async function translated<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw toSteadytuneError(error);
  }
}

/** The addon throws plain errors that carry `code` and `hint`; callers see the classes of errors.ts. */
function toSteadytuneError(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  const code = errors.errorCodes.find((known) => known === error.code);
  const details = {
    cause: error,
    ...("hint" in error && typeof error.hint === "string" ? { hint: error.hint } : {}),
  };
  switch (code) {
    case undefined:
      return error;
    case "ERR_ABORTED":
      return new errors.AbortedError(error.message, details);
    case "ERR_CONFIG":
      return new errors.ConfigError(error.message, details);
    case "ERR_DATA":
      return new errors.DataError(error.message, details);
    case "ERR_CHECKPOINT":
      return new errors.CheckpointError(error.message, details);
    case "ERR_STATE":
      return new errors.StateError(error.message, details);
    case "ERR_CUDA_KERNELS":
      return new errors.NativeError(code, error.message, details);
    default:
      return new errors.SteadytuneError(code, error.message, details);
  }
}
