import { nearest } from "../config/suggest.js";
import { ConfigError } from "../errors.js";
import type { ParameterPlan } from "../native/types.js";
import { isMixoutShare } from "./mixout.js";

interface Setting {
  holds(value: unknown): boolean;
  /** What it must be, as an error says it. */
  due: string;
}

const flag: Setting = { holds: (value) => typeof value === "boolean", due: "true or false" };

const notNegative: Setting = {
  holds: (value) => typeof value === "number" && Number.isFinite(value) && value >= 0,
  due: "a finite number of at least 0",
};

/** What each entry of a plan can be. */
const settings: Record<keyof ParameterPlan, Setting> = {
  frozen: flag,
  lrScale: notNegative,
  weightDecay: notNegative,
  decayTowards: { holds: (value) => value === "zero" || value === "start", due: '"zero" or "start"' },
  decayScaledByLr: flag,
  reset: {
    holds: isReset,
    due: '"none", "zeros", "ones" or { normal: std, stream: "reinit" } with a finite std of at least 0',
  },
  mixout: {
    holds: isMixout,
    due: 'null or { p, mask: "element" or "column", gradient: "exact" or "released" } with p from 0 to below 1',
  },
};

/**
 * Throws unless `changes` is a part of a parameter's plan: methods of users are not seen by the compiler.
 *
 * @param where the method and the parameter, put in front of the message
 * @throws ConfigError
 */
export function checkChanges(changes: unknown, where: string): asserts changes is Partial<ParameterPlan> {
  if (typeof changes !== "object" || changes === null || Array.isArray(changes)) {
    throw new ConfigError(`${where} is to be ${show(changes)}, where an object of changes is due`, {
      hint: "such as { frozen: true }",
    });
  }
  for (const [key, value] of Object.entries(changes) as [string, unknown][]) {
    const setting = Object.hasOwn(settings, key) ? settings[key as keyof ParameterPlan] : undefined;
    if (setting === undefined) {
      const near = nearest(key, Object.keys(settings));
      throw new ConfigError(`${where} has no "${key}" to change`, {
        hint: near ? `did you mean "${near}"?` : `a plan has ${Object.keys(settings).join(", ")}`,
      });
    }
    if (!setting.holds(value)) throw new ConfigError(`${where}: ${key} must be ${setting.due}, but is ${show(value)}`);
  }
}

function isReset(value: unknown): boolean {
  if (value === "none" || value === "zeros" || value === "ones") return true;
  if (typeof value !== "object" || value === null) return false;
  const { normal, stream } = value as { normal?: unknown; stream?: unknown };
  return notNegative.holds(normal) && (stream === "reinit" || stream === "classifierInit");
}

function isMixout(value: unknown): boolean {
  if (value === null) return true;
  if (typeof value !== "object") return false;
  const { p, mask, gradient } = value as { p?: unknown; mask?: unknown; gradient?: unknown };
  return (
    notNegative.holds(p) &&
    isMixoutShare(p as number) &&
    (mask === "element" || mask === "column") &&
    (gradient === "exact" || gradient === "released")
  );
}

function show(value: unknown): string {
  return typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value));
}
