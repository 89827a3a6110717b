import { basename, extname } from "node:path";
import { ConfigError } from "../errors.js";
import { checkConfig, withDefaults } from "./check.js";
import { expandExtends } from "./file.js";
import type { PartialConfig, ResolvedConfig, RunConfig } from "./schema.js";

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
  if (data === undefined || output === undefined) {
    throw new ConfigError(config.task === undefined ? "no data is given" : `no data is given for ${config.task}`, {
      hint:
        config.task === undefined
          ? "name the training file: --data FILE, or --task NAME --data FOLDER for a GLUE task"
          : "name the folder that holds the GLUE files: --data FOLDER",
    });
  }
  return { ...config, model, data, output };
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
  const complete: PartialConfig = { ...config, ...seeds, ...length, ...(output !== undefined && { output }) };
  checkConfig(complete);
  return complete;
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
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)) as RunConfig;
}
