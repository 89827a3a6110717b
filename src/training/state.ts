import { existsSync } from "node:fs";
import { StateError } from "../errors.js";
import type { Session } from "../native/session.js";
import type { Best } from "./best.js";
import type { Phase } from "./clock.js";
import type { Versions } from "./result.js";
import { readStateFile, writeStateFile } from "./state-file.js";

/** Where a run stands. With the arena's buffers this is all that it takes to go on: order and dropout follow the step. */
export interface Position {
  /** Steps done. */
  step: number;
  /** The last step after which the run was evaluated; 0 before the first evaluation. */
  evaluatedAt: number;
  tokens: number;
  best: Best | null;
  /** Sums over the steps since the last diagnostics. */
  window: { steps: number; loss: number; clipped: number };
}

/** What a state must have in common with the run that goes on from it. */
export interface Identity {
  /** Hashes of the config, of the encoded rows, and of the composed plan. */
  config: string;
  data: string;
  plan: string;
}

export interface SavedState {
  position: Position;
  identity: Identity;
  versions: Versions;
  logBytes: number;
  seconds: Record<Phase, number>;
}

/** Snapshot slot of the best parameters so far. */
export const bestSlot = "best";

/** Saving, and what it takes from the device and the disk, stays below this share of the time. */
const savingShare = 0.1;

/**
 * The state file of a run under way. Saving copies the buffers behind the step at work and writes them while training
 * goes on, so that the device never waits for the disk. A large model whose evaluations lie closer together than its
 * state can be written is saved at those that leave enough time in between: a state only ever costs time, never bits.
 */
export class StateKeeper implements AsyncDisposable {
  readonly #path: string;
  readonly #session: Session;
  readonly #everyMs: number;
  readonly #onSaved: (step: number) => void;
  #begunAtMs = performance.now();
  #writingTookMs = 0;
  #wanted = false;
  #writing: Promise<void> | null = null;
  #failure: unknown = null;

  constructor(path: string, session: Session, options: { everySeconds: number; onSaved: (step: number) => void }) {
    this.#path = path;
    this.#session = session;
    this.#everyMs = options.everySeconds * 1000;
    this.#onSaved = options.onSaved;
  }

  /** Makes a save due as soon as it is affordable, without waiting for the interval to pass. */
  want(): void {
    this.#wanted = true;
  }

  get due(): boolean {
    if (this.#writing !== null) return false;
    const affordableMs = this.#writingTookMs / savingShare;
    return performance.now() - this.#begunAtMs >= (this.#wanted ? affordableMs : Math.max(this.#everyMs, affordableMs));
  }

  /**
   * Begins to save and returns at once. No step may be in flight, nor another save.
   *
   * @throws OutputError when an earlier save could not be written.
   */
  begin(state: SavedState): void {
    this.#throwFailure();
    this.#wanted = false;
    this.#begunAtMs = performance.now();
    this.#writing = this.#write(state)
      .catch((error: unknown) => {
        this.#failure = error;
      })
      .finally(() => {
        this.#writingTookMs = performance.now() - this.#begunAtMs;
        this.#writing = null;
      });
  }

  /** Waits until nothing is being written. @throws OutputError when it could not be. */
  async settled(): Promise<void> {
    await this.#writing;
    this.#throwFailure();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
  }

  async #write(state: SavedState): Promise<void> {
    const arrays = await capture(this.#session, state.position);
    await writeStateFile(this.#path, { content: state, arrays });
    this.#onSaved(state.position.step);
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}

/** Copies of all buffers, asked for at once: whatever is submitted later does not show in them. */
async function capture(session: Session, { step, best }: Position): Promise<Map<string, Float32Array>> {
  const reads: [string, Promise<Float32Array>][] = (["parameters", "moment1", "moment2", "start"] as const).map(
    (buffer) => [buffer, session.readBuffer(buffer)],
  );
  // A best checkpoint that is the current one needs no second copy.
  if (best !== null && best.step !== step) {
    for (const { name } of session.parameters) reads.push([`best.${name}`, session.readSnapshot(bestSlot, name)]);
  }
  const values = await Promise.all(reads.map(([, read]) => read));
  return new Map(reads.map(([name], i) => [name, values[i] ?? new Float32Array()]));
}

/**
 * Puts a saved run back into a session whose plan is set.
 *
 * @returns null where there is no state file.
 * @throws StateError when the file is damaged or belongs to another run.
 */
export async function restoreState(path: string, session: Session, identity: Identity): Promise<SavedState | null> {
  if (!existsSync(path)) return null;
  const { content, arrays } = await readStateFile<SavedState>(path);
  refuseForeign(path, content.identity, identity);
  const { step, best } = content.position;
  if (best !== null && best.step !== step) {
    for (const { name } of session.parameters) {
      const values = array(path, arrays, `best.${name}`);
      await session.load({
        [name]: { dtype: "float32", data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) },
      });
    }
    await session.snapshot(bestSlot);
  }
  for (const buffer of ["parameters", "moment1", "moment2", "start"] as const) {
    const values = array(path, arrays, buffer);
    if (values.length > 0) await session.writeBuffer(buffer, values);
  }
  if (best?.step === step) await session.snapshot(bestSlot);
  return content;
}

/** What differs between where a state was saved and where it goes on, and can change the last bits of the result. */
export function environmentChanges(before: Versions, now: Versions): string[] {
  const names = {
    threads: "number of threads",
    instructionSet: "instruction set",
    device: "device",
    torch: "version of libtorch",
    numerics: "version of the numerics",
  } as const;
  return (Object.keys(names) as (keyof typeof names)[])
    .filter((key) => before[key] !== now[key])
    .map((key) => `${names[key]} (${before[key]} then, ${now[key]} now)`);
}

function refuseForeign(path: string, saved: Identity, ours: Identity): void {
  const subjects = { config: "another config", data: "other data", plan: "other methods" } as const;
  for (const key of ["config", "data", "plan"] as const) {
    if (saved[key] === ours[key]) continue;
    throw new StateError(`the state file ${path} belongs to a run with ${subjects[key]}`, {
      hint: "choose another output folder, or delete the state file to start from the beginning",
    });
  }
}

function array(path: string, arrays: Map<string, Float32Array>, name: string): Float32Array {
  const values = arrays.get(name);
  if (!values) throw new StateError(`the state file ${path} has no ${name}`, { hint: "delete it to start again" });
  return values;
}
