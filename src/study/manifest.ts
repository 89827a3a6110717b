import { readFile } from "node:fs/promises";
import { ConfigError, StateError } from "../errors.js";
import { writeFileAtomic } from "../files/atomic.js";
import { studyPaths } from "./folder.js";
import type { Trial } from "./plan.js";

/** What a study was planned to be: the first line of `manifest.jsonl`, and a line for each trial. */
export interface Manifest {
  study: StudyHeader;
  trials: Trial[];
}

export interface StudyHeader {
  /** Version of this file's format. */
  format: 1;
  name: string;
  title: string;
  description: string | null;
}

/** @returns null where no study was planned yet. @throws StateError when the file is not a manifest of this version. */
export async function readManifest(folder: string): Promise<Manifest | null> {
  const { manifest: path } = studyPaths(folder);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  const lines = text.split("\n").filter((line) => line !== "");
  const [study, ...trials] = lines.map((line, i) => {
    try {
      return JSON.parse(line) as unknown;
    } catch (cause) {
      throw new StateError(`${path} is not a manifest: line ${i + 1} is not JSON`, { cause });
    }
  });
  if ((study as Partial<StudyHeader> | undefined)?.format !== 1) {
    throw new StateError(`${path} is not a manifest of this version of steadytune`, {
      hint: "choose another --output, or remove the folder to start anew",
    });
  }
  return { study: study as StudyHeader, trials: trials as Trial[] };
}

/** @throws ConfigError where no study was planned yet. */
export async function requireManifest(folder: string): Promise<Manifest> {
  const manifest = await readManifest(folder);
  if (manifest !== null) return manifest;
  throw new ConfigError(`${folder} holds no study: it has no manifest.jsonl`, {
    hint: "plan one first: steadytune study plan FILE",
  });
}

export async function writeManifest(folder: string, { study, trials }: Manifest): Promise<void> {
  const lines = [study, ...trials].map((entry) => `${JSON.stringify(entry)}\n`);
  await writeFileAtomic(studyPaths(folder).manifest, lines.join(""));
}

/**
 * The planned trials with the new ones behind them. What was planned stays as it was planned, also where the study
 * file no longer names it: seeds and cells are only ever added.
 *
 * @throws ConfigError when the study file now means something else by a cell and seed that was planned before
 */
export function mergeTrials(planned: readonly Trial[], wanted: readonly Trial[], folder: string): Trial[] {
  const place = ({ stage, task, recipe, seed }: Trial): string => JSON.stringify([stage, task, recipe, seed]);
  const before = new Map(planned.map((trial) => [place(trial), trial]));
  const added: Trial[] = [];
  for (const trial of wanted) {
    const old = before.get(place(trial));
    if (old === undefined) added.push(trial);
    else if (old.id !== trial.id) {
      throw new ConfigError(
        `${folder} was planned with another ${changed(old, trial)} for "${trial.recipe}" on ${trial.task}, ${trial.seed}`,
        { hint: "choose another --output, give the recipe another name, or plan anew with --replan" },
      );
    }
  }
  return [...planned, ...added];
}

function changed(old: Trial, now: Trial): string {
  if (old.fingerprint.data !== now.fingerprint.data) return "content of the data files";
  if (old.fingerprint.weights !== now.fingerprint.weights) return "model";
  if (old.fingerprint.transfer !== now.fingerprint.transfer) return "intermediate task";
  if (old.fingerprint.numerics !== now.fingerprint.numerics) return "version of the numerics";
  return "config";
}
