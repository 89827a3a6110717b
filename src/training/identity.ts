import { createHash } from "node:crypto";
import { basename } from "node:path";
import { isOwnMethod, type ResolvedConfig } from "../config/schema.js";

/** Keys that decide where and how a run is done, not what comes out; a resumed run may change them. */
const incidental = new Set(["output", "resume", "stateEvery", "keep", "threads", "device", "tensorboard"]);

type Json = unknown;

/** A hash over what decides a run's outcome; equal configs have equal hashes whatever the order of their keys. */
export function configHash(config: object): string {
  return createHash("sha256")
    .update(canonical(outcome(config)))
    .digest("hex")
    .slice(0, 32);
}

/**
 * A config without the names of files, and without its intermediate task: what is left of it where the contents of those
 * are known by a hash. Of a method of the user's own the file's name stays, which messages show.
 */
export function withoutPlaces(config: ResolvedConfig): object {
  const { model: _, revision: __, data: ___, validation: ____, test: _____, transfer: ______, ...rest } = config;
  const methods = rest.methods.map((entry) => (isOwnMethod(entry) ? { ...entry, name: basename(entry.name) } : entry));
  return { ...rest, methods };
}

export interface Difference {
  /** Dotted, such as "optimizer.learningRate" or "methods.0.layers". */
  key: string;
  before: Json;
  after: Json;
}

/** The first key, in alphabetic order, that makes two configs two different runs; null where they are the same run. */
export function firstDifference(before: object, after: object): Difference | null {
  return differenceAt("", outcome(before), outcome(after));
}

function outcome(config: object): Record<string, Json> {
  return Object.fromEntries(Object.entries(config).filter(([key]) => !incidental.has(key)));
}

function differenceAt(key: string, before: Json, after: Json): Difference | null {
  if (!isContainer(before) || !isContainer(after) || Array.isArray(before) !== Array.isArray(after)) {
    return canonical(before) === canonical(after) ? null : { key, before, after };
  }
  for (const name of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
    const found = differenceAt(key === "" ? name : `${key}.${name}`, before[name], after[name]);
    if (found) return found;
  }
  return null;
}

function isContainer(value: Json): value is Record<string, Json> {
  return typeof value === "object" && value !== null;
}

/** JSON with sorted keys. Absent and undefined are the same, as they are in a file. */
function canonical(value: Json): string {
  return (
    JSON.stringify(value, (_key, inner: Json) =>
      isContainer(inner) && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
    ) ?? "absent"
  );
}
