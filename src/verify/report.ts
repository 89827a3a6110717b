import { distance, norm, relativeError, zeroNorm } from "./error.js";
import { TensorDump } from "./tensor-dump.js";

/** One comparison with reference values. */
export interface Check {
  /** `<folder>/<what>`, such as "bert-classification/logits". */
  name: string;
  /** The largest error of all tensors compared: relative, or absolute for "zero" checks. */
  error: number;
  tolerance: number;
  ok: boolean;
}

/** A part of the bundle that was not compared, and why. It counts as nothing, neither ok nor failed. */
export interface Skipped {
  name: string;
  reason: string;
}

export interface VerifyReport {
  /** True when there was at least one check and none failed. */
  ok: boolean;
  checks: Check[];
  skipped: Skipped[];
}

/** Collects checks, and every tensor computed on the way. */
export class Recorder {
  readonly checks: Check[] = [];
  readonly skipped: Skipped[] = [];
  readonly tensors = new TensorDump();
  readonly #onCheck: (check: Check) => void;

  constructor(onCheck: (check: Check) => void) {
    this.#onCheck = onCheck;
  }

  check(name: string, error: number, tolerance: number): void {
    const check = { name, error, tolerance, ok: error <= tolerance };
    this.checks.push(check);
    this.#onCheck(check);
  }

  /** Compares one tensor by its relative error and keeps it for the dump. */
  compare(
    name: string,
    shape: readonly number[],
    computed: Float32Array,
    reference: ArrayLike<number>,
    tolerance: number,
  ) {
    this.tensors.add(name, shape, computed);
    this.check(name, relativeError(computed, reference), tolerance);
  }

  /**
   * Compares many tensors as one check by the worst of them. Those whose reference is zero (gradients of key biases)
   * make a check of their own, named "zero-" and judged by the absolute difference.
   */
  compareAll(
    name: string,
    pairs: readonly { computed: Float32Array; reference: Float32Array }[],
    tolerance: number,
    zeroTolerance = zeroNorm,
  ): void {
    const isZero = ({ reference }: { reference: Float32Array }) => norm(reference) < zeroNorm;
    const errors = pairs.filter((pair) => !isZero(pair)).map((pair) => relativeError(pair.computed, pair.reference));
    this.check(name, Math.max(...errors), tolerance);
    const zeros = pairs.filter(isZero).map((pair) => distance(pair.computed, pair.reference));
    if (zeros.length > 0) this.check(name.replace(/([^/]+)$/, "zero-$1"), Math.max(...zeros), zeroTolerance);
  }

  skip(name: string, reason: string): void {
    this.skipped.push({ name, reason });
  }

  get report(): VerifyReport {
    const { checks, skipped } = this;
    return { ok: checks.length > 0 && checks.every(({ ok }) => ok), checks, skipped };
  }
}
