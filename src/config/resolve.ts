import { basename, extname } from "node:path";
import { ConfigError } from "../errors.js";
import { checkConfig, withDefaults } from "./check.js";
import { expandExtends } from "./file.js";
import { configSchema, type PartialConfig, type ResolvedConfig, type RunConfig } from "./schema.js";

/**
 * What a run does, with nothing left open: `extends` merged, defaults filled in, everything checked. The result is
 * again a valid RunConfig and resolves to itself.
 *
 * @throws ConfigError naming the key at fault, with the nearest known key where one is unknown
 */
export function resolveConfig(input: RunConfig): ResolvedConfig {
  const config = completeConfig(input);
  const { model, data, output } = config;
  if (model === undefined) {
    throw new ConfigError("no model is given", {
      hint: "name a checkpoint's folder or a hub id: --model DIR, or the key model",
    });
  }
  if (data === undefined || output === undefined) throw missingData(config.task);
  return { ...config, model, data, output };
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
  const { $schema: _, description: __, extends: ___, ...config } = withDefaults(given) as PartialConfig & RunConfig;
  const seed = given.seed ?? (given.orderSeed === undefined ? undefined : given.initSeed) ?? 0;
  const seeds = { seed, initSeed: given.initSeed ?? seed, orderSeed: given.orderSeed ?? seed };
  const length = given.steps === undefined ? { epochs: given.epochs ?? 3 } : { steps: given.steps };
  const output =
    given.output ?? (given.data === undefined ? undefined : defaultOutput(given.task ?? given.data, seeds));
  const complete = inOrder({ ...config, ...seeds, ...length, ...(output !== undefined && { output }) });
  checkConfig(complete);
  return complete;
}

/** Keys in the order of the schema, so that `config.json` reads alike however it was put together. */
function inOrder(config: PartialConfig): PartialConfig {
  const order = Object.keys(configSchema.properties);
  const entries = Object.entries(config).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  return Object.fromEntries(entries) as PartialConfig;
}

/** runs/rte-seed0, runs/tickets-init1-order2. */
function defaultOutput(subject: string, { initSeed, orderSeed }: { initSeed: number; orderSeed: number }): string {
  const name = basename(subject, extname(subject))
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, "-");
  return `runs/${name}-${initSeed === orderSeed ? `seed${initSeed}` : `init${initSeed}-order${orderSeed}`}`;
}

/** Callers in code write `{ steps: wanted }` with `wanted` undefined to mean that nothing is given. */
function withoutUndefined(config: RunConfig): RunConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
}
