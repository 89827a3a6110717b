import { codeVersions } from "../training/versions.js";
import type { Trial } from "./plan.js";

/**
 * What to tell a person where trials were planned with another steadytune or libtorch than this one; null otherwise. Not
 * refused, as another version of the numerics is: the same code on another libtorch differs in the last digits at most.
 */
export function otherVersionsNote(trials: readonly Pick<Trial, "versions">[]): string | null {
  const named = ({ steadytune, torch }: Trial["versions"]): string => `steadytune ${steadytune} and libtorch ${torch}`;
  const now = named(codeVersions());
  const others = new Set(trials.map(({ versions }) => named(versions)).filter((planned) => planned !== now));
  if (others.size === 0) return null;
  return (
    `runs that were planned with ${[...others].join(", and with ")} run with ${now} here: ` +
    "their last digits may differ from those of runs that are done already"
  );
}
