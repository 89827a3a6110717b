import { existsSync } from "node:fs";
import { StateError } from "../errors.js";
import type { Session } from "../native/session.js";
import type { Best } from "./best.js";
import type { Phase } from "./clock.js";
import type { Versions } from "./result.js";
import { piecesOf, readStateFile, writeStateFile, type StoredArray } from "./state-file.js";

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
 * The state file of a run under way. Training waits while the buffers are handed to the operating system, a piece at a
 * time, so that no copy of them is ever whole in memory; that they reach the disk is waited for while training goes on.
 * A large model whose evaluations lie closer together than its state can be written is saved at those that leave enough
 * time in between: a state only ever costs time, never bits.
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
   * Begins to save; resolves when the session may change again. No step may be in flight, nor another save.
   *
   * @throws OutputError when an earlier save could not be written.
   */
  async begin(state: SavedState): Promise<void> {
    this.#throwFailure();
    this.#wanted = false;
    this.#begunAtMs = performance.now();
    await new Promise<void>((taken) => {
      this.#writing = this.#write(state, taken)
        .catch((error: unknown) => {
          this.#failure = error;
        })
        .finally(() => {
          this.#writingTookMs = performance.now() - this.#begunAtMs;
          this.#writing = null;
          taken();
        });
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

  async #write(state: SavedState, onRead: () => void): Promise<void> {
    const arrays = await arraysOf(this.#session, state.position);
    await writeStateFile(this.#path, { content: state, arrays }, onRead);
    this.#onSaved(state.position.step);
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}

const buffers = ["parameters", "moment1", "moment2", "start"] as const;

/** All that a state holds of the session. */
async function arraysOf(session: Session, { step, best }: Position): Promise<StoredArray[]> {
  const arrays = await Promise.all(
    buffers.map(async (name) => ({
      name: name,
      length: await session.bufferLength(name),
      read: (begin: number, end: number) => session.readBuffer(name, { begin, end }),
    })),
  );
  // A best checkpoint that is the current one needs no second copy.
  if (best === null || best.step === step) return arrays;
  const ofBest = session.parameters.map(({ name, shape }) => ({
    name: `best.${name}`,
    length: shape.reduce((a, b) => a * b, 1),
    read: async (begin: number, end: number) => (await session.readSnapshot(bestSlot, name)).subarray(begin, end),
  }));
  return [...arrays, ...ofBest];
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
      const stored = arrayNamed(path, arrays, `best.${name}`);
      const values = await stored.read(0, stored.length);
      await session.load({
        [name]: { dtype: "float32", data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) },
      });
    }
    await session.snapshot(bestSlot);
  }
  const modelLength = await session.bufferLength("parameters");
  for (const buffer of buffers) {
    const stored = arrayNamed(path, arrays, buffer);
    if (stored.length !== 0 && stored.length !== modelLength) {
      throw new StateError(`the state file ${path} has ${stored.length} values of ${buffer}, not ${modelLength}`, {
        hint: "it belongs to another model; delete it to start the run from its beginning",
      });
    }
    for await (const { begin, values } of piecesOf(stored)) await session.writeBuffer(buffer, values, { begin });
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
    gpu: "model of GPU",
    torch: "version of libtorch",
    numerics: "version of the numerics",
  } as const;
  return (
    (Object.keys(names) as (keyof typeof names)[])
      // Another device says it all.
      .filter((key) => before[key] !== now[key] && (key !== "gpu" || before.device === now.device))
      .map((key) => `${names[key]} (${before[key]} then, ${now[key]} now)`)
  );
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

function arrayNamed(path: string, arrays: readonly StoredArray[], name: string): StoredArray {
  const array = arrays.find((candidate) => candidate.name === name);
  if (!array) throw new StateError(`the state file ${path} has no ${name}`, { hint: "delete it to start again" });
  return array;
}
