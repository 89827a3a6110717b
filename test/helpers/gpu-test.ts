import test, { type ExecutionContext } from "ava";
import { cudaProblem } from "#src/native/load.js";
import { hasNvidiaGpu } from "#src/native/platform.js";

/**
 * A test that needs a GPU. Where this machine has none it passes with the reason in its log; where it has one and it
 * cannot be used, it fails. One at a time: they share the device's memory.
 */
export function gpuTest(promise: string, body: (t: ExecutionContext) => Promise<void>): void {
  test.serial(promise, async (t) => {
    const problem = cudaProblem();
    if (problem === null) {
      await body(t);
      return;
    }
    if (hasNvidiaGpu()) t.fail(`${problem.message} ${problem.hint ?? ""}`);
    t.log(`skipped: ${problem.message}`);
    t.pass();
  });
}
