import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import type { OwnMethodConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import type { Method } from "./method.js";

/**
 * Loads a method of the user's own. The module's default export is a function that takes the other keys of the entry
 * and returns the method: `export default ({ factor }) => (parameters) => ({ ... })`.
 *
 * @throws ConfigError naming the file when there is none, when it cannot be imported or is of another shape, or when
 *   it is not what it was when the config was resolved.
 */
export async function loadOwnMethod({ name: path, sha256, ...options }: OwnMethodConfig): Promise<Method> {
  const found = createHash("sha256")
    .update(await contentOf(path))
    .digest("hex");
  if (sha256 !== undefined && sha256 !== found) {
    throw new ConfigError(`the method ${path} has changed since this run was set up`, {
      hint: "an edited method makes another run: start that anew, or put the file back",
    });
  }
  // Node keeps modules by address; the hash in it has an edited file loaded anew.
  const { href } = Object.assign(pathToFileURL(path), { search: `?sha256=${found}` });
  const make = await attempt(
    path,
    "cannot be loaded",
    async () => ((await import(href)) as { default?: unknown }).default,
  );
  if (typeof make !== "function") throw shapeError(path, "has no function as its default export");
  const method = await attempt(path, "failed on its options", () => make(options) as unknown);
  if (typeof method !== "function") throw shapeError(path, "does not return a method from its default export");
  const named: Method = (parameters) => (method as Method)(parameters);
  // Errors name a method by its function's name.
  return Object.defineProperty(named, "name", { value: path });
}

async function contentOf(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new ConfigError(`the method ${path} cannot be read`, { cause });
  }
}

async function attempt<T>(path: string, what: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`the method ${path} ${what}: ${reason}`, { cause });
  }
}

function shapeError(path: string, what: string): ConfigError {
  return new ConfigError(`the method ${path} ${what}`, {
    hint: "it should read: export default (options) => (parameters) => ({ [name]: changes, ... })",
  });
}
