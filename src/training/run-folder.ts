import { existsSync } from "node:fs";
import { readFile, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { ResolvedConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import { makeFolder, writeFileAtomic } from "../files/atomic.js";
import { lockFolder } from "../files/lock.js";
import { firstDifference, withoutPlaces } from "./identity.js";
import type { RunResult } from "./result.js";

/** A run's folder, locked against other processes while it is open. */
export interface RunFolder extends AsyncDisposable {
  readonly path: string;
  readonly files: RunFiles;
  /** What of a config must be equal for two runs in this folder to be one and the same. */
  outcomeOf(config: ResolvedConfig): object;
  /** The result of a run that ended here before; null while there is something left to do. */
  readonly finished: RunResult | null;
  /** Writes `config.json` and clears away what an earlier run of the same config left. */
  begin(): Promise<void>;
}

export interface RunFiles {
  config: string;
  log: string;
  state: string;
  result: string;
  predictions: string;
  best: string;
}

export function runFiles(folder: string): RunFiles {
  return {
    config: join(folder, "config.json"),
    log: join(folder, "log.jsonl"),
    state: join(folder, "state.bin"),
    result: join(folder, "result.json"),
    predictions: join(folder, "predictions.jsonl"),
    best: join(folder, "best"),
  };
}

/**
 * Opens `path` for a run of `config`, making it where it is missing. One that was made is gone again if nothing was
 * written into it.
 *
 * @param namedByContent whether the folder's name is a hash of what the model's and the data's files hold: then it does
 *   not matter where these lie
 * @throws ConfigError when the folder belongs to another config, or holds a run of this one and `resume` is off;
 *   LockedError when another process is at work in it; OutputError when it cannot be written.
 */
export async function openRunFolder(
  path: string,
  config: ResolvedConfig,
  { namedByContent = false }: { namedByContent?: boolean } = {},
): Promise<RunFolder> {
  const isNew = !existsSync(path);
  await makeFolder(path);
  const lock = await lockFolder(path);
  const close = async (): Promise<void> => {
    await lock.release();
    if (isNew) await rmdir(path).catch(() => {}); // refused where something is in it
  };
  const outcomeOf = namedByContent ? withoutPlaces : (whole: ResolvedConfig): object => whole;
  try {
    const files = runFiles(path);
    await refuseForeign(path, files, config, outcomeOf);
    if (!config.resume) refuseSecond(path, files);
    const finished = await readResult(path);
    return {
      path,
      files,
      outcomeOf,
      finished,
      async begin() {
        for (const old of [files.result, files.state, files.predictions, files.best])
          await rm(old, { recursive: true, force: true });
        await writeFileAtomic(files.config, `${JSON.stringify(config, null, 2)}\n`);
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Hours of work are not done over, or dropped, because a command was given twice. */
function refuseSecond(path: string, files: RunFiles): void {
  if (existsSync(files.result)) {
    throw new ConfigError(`${path} holds a finished run of this config`, {
      hint: "--resume shows its result; choose another --output, or remove the folder, to train it again",
    });
  }
  if (existsSync(files.state)) {
    throw new ConfigError(`${path} holds an unfinished run of this config`, {
      hint: "go on with it by --resume, or choose another --output",
    });
  }
}

async function refuseForeign(
  path: string,
  files: RunFiles,
  config: ResolvedConfig,
  outcomeOf: RunFolder["outcomeOf"],
): Promise<void> {
  const before = await readJson<ResolvedConfig>(files.config);
  if (before === null) {
    const taken = [files.log, files.result, files.best].find((file) => existsSync(file));
    if (taken === undefined) return;
    throw new ConfigError(`${path} has no config.json but holds ${taken}, which a run would replace`, {
      hint: "choose another --output",
    });
  }
  const difference = firstDifference(outcomeOf(before), outcomeOf(config));
  if (!difference) return;
  const { key, before: there, after: here } = difference;
  throw new ConfigError(
    `${path} belongs to another config: ${key} is ${JSON.stringify(there) ?? "not set"} there and ${JSON.stringify(here) ?? "not set"} here`,
    { hint: "choose another --output, or repeat the first command with --resume" },
  );
}

/** The result of a run that ended in this folder; null where none has. */
export function readResult(folder: string): Promise<RunResult | null> {
  return readJson<RunResult>(runFiles(folder).result);
}

/** The content of a JSON file; null where there is none. */
async function readJson<T>(path: string): Promise<T | null> {
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(await readFile(path, "utf8")) as T;
  } catch (error) {
    throw new ConfigError(`${path} is not readable JSON`, { cause: error, hint: "choose another --output" });
  }
}
