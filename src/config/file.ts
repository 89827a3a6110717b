import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError } from "../errors.js";
import { checkConfig } from "./check.js";
import { mergeConfigs } from "./merge.js";
import { isOwnMethod, type MethodEntry, type OwnMethodConfig, type RunConfig } from "./schema.js";
import { nearest } from "./suggest.js";

const recipeFolder = fileURLToPath(new URL("../../configs/recipes/", import.meta.url));

/** Names of the recipes that ship with steadytune. */
export function recipeNames(): string[] {
  return readdirSync(recipeFolder)
    .filter((file) => file.endsWith(".json"))
    .map((file) => file.slice(0, -".json".length))
    .sort();
}

/** The file of a recipe that ships with steadytune. */
export function recipePath(name: string): string {
  return join(recipeFolder, `${name}.json`);
}

/**
 * Reads a recipe by name ("mosbach") or a config file, checks it, and merges it onto what it extends.
 *
 * @throws ConfigError naming the file, and line and column where it is not JSON
 */
export function readConfigFile(nameOrPath: string): RunConfig {
  return readFrom(nameOrPath, process.cwd(), []);
}

/** The config on top of what it extends; names of recipes and methods are relative to `folder`. */
export function expandExtends(config: RunConfig, folder: string = process.cwd()): RunConfig {
  return expand(config, folder, []);
}

function readFrom(nameOrPath: string, folder: string, chain: readonly string[]): RunConfig {
  const path = locate(nameOrPath, folder);
  if (chain.includes(path)) {
    const round = [...chain.slice(chain.indexOf(path)), path].map(display).join(" extends ");
    throw new ConfigError(`a config extends itself: ${round}`);
  }
  const config = parseJson(readText(path), display(path));
  checkConfig(config, display(path));
  return expand(config, dirname(path), [...chain, path]);
}

function expand(config: RunConfig, folder: string, chain: readonly string[]): RunConfig {
  const { extends: bases = [], $schema: _, description: __, ...own } = config;
  return [bases]
    .flat()
    .map((base) => readFrom(base, folder, chain))
    .concat(ownKeys(own, folder, chain))
    .reduce(mergeConfigs);
}

/** What the config itself says: its methods by absolute paths, its intermediate task on top of what that extends. */
function ownKeys(own: RunConfig, folder: string, chain: readonly string[]): RunConfig {
  const { methods, transfer, ...rest } = own;
  return {
    ...rest,
    ...(methods && { methods: methods.map((entry) => methodInFolder(entry, folder)) }),
    ...(transfer && { transfer: expand(transfer, folder, chain) }),
  };
}

function methodInFolder(entry: MethodEntry, folder: string): MethodEntry {
  if (!isOwnMethod(entry)) return entry;
  return { ...entry, name: resolve(folder, entry.name) as OwnMethodConfig["name"] };
}

function locate(nameOrPath: string, folder: string): string {
  if (/[./\\]/.test(nameOrPath)) return resolve(folder, nameOrPath);
  const names = recipeNames();
  if (names.includes(nameOrPath)) return recipePath(nameOrPath);
  const near = nearest(nameOrPath, names);
  throw new ConfigError(`there is no recipe "${nameOrPath}"`, {
    hint: near ? `did you mean "${near}"?` : `recipes: ${names.join(", ")}; a file of your own is given as ./name.json`,
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8").replace(/^\uFEFF/, "");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === "ENOENT" ? "does not exist" : "cannot be read";
    throw new ConfigError(`the config file ${display(path)} ${reason}`, { cause: error });
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const message = (error as Error).message;
    const position = Number(/position (\d+)/.exec(message)?.[1] ?? text.length);
    const before = text.slice(0, position).split("\n");
    const place = `line ${before.length}, column ${before.at(-1)!.length + 1}`;
    throw new ConfigError(`${file} is not JSON at ${place}: ${message.replace(/ in JSON at position.*/, "")}`, {
      cause: error,
      hint: "comments and commas before a closing bracket are not allowed",
    });
  }
}

/** A path as the reader would write it: short where it lies below the working directory. */
function display(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}
