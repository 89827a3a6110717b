import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, extname } from "node:path";
import { ConfigError } from "../errors.js";
import { checkConfig, withDefaults } from "./check.js";
import { expandExtends } from "./file.js";
import { mergeConfigs } from "./merge.js";
import {
  configSchema,
  isOwnMethod,
  transferKeys,
  type MethodEntry,
  type PartialConfig,
  type ResolvedConfig,
  type RunConfig,
  type TransferConfig,
} from "./schema.js";

/**
 * What a run does, with nothing left open: `extends` merged, defaults filled in, everything checked. The result is
 * again a valid RunConfig and resolves to itself.
 *
 * @throws ConfigError naming the key at fault, with the nearest known key where one is unknown
 */
export function resolveConfig(input: RunConfig): ResolvedConfig {
  const { model, data, output, transfer, ...config } = completeConfig(input);
  if (model === undefined) {
    throw new ConfigError("no model is given", {
      hint: "name a checkpoint's folder or a hub id: --model DIR, or the key model",
    });
  }
  if (data === undefined || output === undefined) throw missingData(config.task);
  if (transfer === undefined) return inOrder({ ...config, model, data, output });
  if (transfer.data === undefined) {
    throw new ConfigError("transfer names no data for the intermediate task", {
      hint: "name a GLUE task or a training file: --set transfer.task=NAME, --set transfer.data=PATH",
    });
  }
  return inOrder({ ...config, model, data, output, transfer: { ...transfer, data: transfer.data } });
}

/** What is said where a command needs data and has none. */
export function missingData(task: string | undefined): ConfigError {
  return task === undefined
    ? new ConfigError("no data is given", {
        hint: "name the training file: --data FILE, or --task NAME --data FOLDER for a GLUE task",
      })
    : new ConfigError(`no data is given for ${task}`, {
        hint: "name the folder that holds the GLUE files: --data FOLDER",
      });
}

/** Like `resolveConfig`, for a config that need not name a model or data yet, such as a recipe. */
export function completeConfig(input: RunConfig): PartialConfig {
  checkConfig(input);
  const given = expandExtends(withoutUndefined(input));
  checkConfig(given);
  const filled = withDefaults(given) as PartialConfig & RunConfig;
  const { $schema: _, description: __, extends: ___, steps: ____, epochs: _____, ...config } = filled;
  const seed = given.seed ?? (given.orderSeed === undefined ? undefined : given.initSeed) ?? 0;
  const seeds = { seed, initSeed: given.initSeed ?? seed, orderSeed: given.orderSeed ?? seed };
  // Steps win, as in the paper's code.
  const length = given.steps === undefined ? { epochs: given.epochs ?? 3 } : { steps: given.steps };
  const output =
    given.output ?? (given.data === undefined ? undefined : defaultOutput(given.task ?? given.data, seeds));
  const methods = config.methods.map(withHash);
  const run = { ...config, ...seeds, ...length, methods, ...(output !== undefined && { output }) };
  const complete = inOrder({ ...run, ...(given.transfer && { transfer: completeTransfer(given.transfer, run) }) });
  checkConfig(complete);
  return complete;
}

/** What an intermediate task has in common with its run unless it says otherwise. */
const inheritedKeys = [
  ...(["maxLength", "evaluateOn", "skipBadRows", "batchSize", "accumulation", "dropout", "optimizer"] as const),
  ...(["protocol", "evaluations", "evaluationBatchSize", "dtype", "engine"] as const),
];

/** The intermediate task with nothing left open: its own keys, those of its run, then the defaults. */
function completeTransfer(transfer: TransferConfig, run: PartialConfig): PartialConfig["transfer"] {
  const shared: RunConfig = Object.fromEntries(
    inheritedKeys.filter((key) => run[key] !== undefined).map((key) => [key, run[key]]),
  );
  // All GLUE tasks lie below one folder.
  if (transfer.task !== undefined && run.task !== undefined && run.data !== undefined) shared.data = run.data;
  const complete = asTransfer(() => completeConfig(mergeConfigs(shared, withoutUndefined(transfer))));
  const own = Object.entries(complete).filter(([key]) => transferKeys.includes(key));
  return Object.fromEntries(own) as PartialConfig["transfer"];
}

/** What is wrong with the intermediate task may come of a key that it takes from its run. */
function asTransfer<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`transfer: ${error.message}`, { cause: error, ...(error.hint && { hint: error.hint }) });
  }
}

/** With the hash of what the file of a user's own method holds: a run with an edited one is another run. */
function withHash(entry: MethodEntry): MethodEntry {
  if (!isOwnMethod(entry)) return entry;
  const { name, sha256: _, ...options } = entry;
  try {
    return { name, sha256: createHash("sha256").update(readFileSync(name)).digest("hex"), ...options };
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "does not exist" : "cannot be read";
    throw new ConfigError(`the method ${name} ${reason}`, {
      cause,
      hint: "a method's file is named relative to the config file, or to the working directory on the command line",
    });
  }
}

/** Keys in the order of the schema, so that `config.json` reads alike however it was put together. */
function inOrder<T extends PartialConfig>(config: T): T {
  const order = Object.keys(configSchema.properties);
  const entries = Object.entries(config).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  return Object.fromEntries(entries) as T;
}

/** runs/rte-seed0, runs/tickets-init1-order2. */
function defaultOutput(subject: string, { initSeed, orderSeed }: { initSeed: number; orderSeed: number }): string {
  const name = basename(subject, extname(subject))
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, "-");
  return `runs/${name}-${initSeed === orderSeed ? `seed${initSeed}` : `init${initSeed}-order${orderSeed}`}`;
}

/** Callers in code write `{ steps: wanted }` with `wanted` undefined to mean that nothing is given. */
function withoutUndefined<T extends object>(config: T): T {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)) as T;
}
