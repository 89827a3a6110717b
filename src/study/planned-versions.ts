import { StateError } from "../errors.js";
import { codeVersions, numerics } from "../training/versions.js";
import type { Trial } from "./plan.js";

/**
 * Trials of two versions of the numerics make no cell, and choices among them compare what cannot be compared.
 *
 * @param folder the study's
 * @throws StateError where one of the trials was planned with another version than this one
 */
export function refuseOtherNumerics(trials: readonly Pick<Trial, "fingerprint">[], folder: string): void {
  const other = trials.find(({ fingerprint }) => fingerprint.numerics !== numerics)?.fingerprint.numerics;
  if (other === undefined) return;
  throw new StateError(`${folder} was planned with version ${other} of the numerics, but this is ${numerics}`, {
    hint: "go on with the steadytune that planned it, choose another --output, or plan anew with --replan",
  });
}

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
