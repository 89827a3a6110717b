import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ExecutionContext } from "ava";

export interface PythonProgram<Request, Answer> {
  /**
   * One call at a time. It needs STEADYTUNE_PYTHON, a Python with torch and transformers (scripts/transformers-python.mjs
   * makes one); without it the test passes with a printed reason, and this is null.
   */
  ask(t: ExecutionContext, request: Request): Promise<Answer | null>;
  /** Ends the program, if it was ever started; for `test.after.always`. */
  stop(): void;
}

/**
 * A program of test/transformers/ that answers one line of JSON with another, or with {"error": ...}. One process serves
 * all tests of a file: importing transformers takes longer than anything that it is asked.
 */
export function pythonProgram<Request, Answer extends object>(name: string): PythonProgram<Request, Answer> {
  const file = fileURLToPath(new URL(`../../test/transformers/${name}`, import.meta.url));
  let running: { child: ChildProcess; answers: AsyncIterator<string> } | null = null;
  return {
    async ask(t, request) {
      const python = process.env["STEADYTUNE_PYTHON"];
      if (!python) {
        t.log("skipped: STEADYTUNE_PYTHON names no Python with transformers (node scripts/transformers-python.mjs)");
        t.pass();
        return null;
      }
      running ??= start(python, file);
      running.child.stdin?.write(`${JSON.stringify(request)}\n`);
      const { value, done } = await running.answers.next();
      if (done) throw new Error(`${file} ended without an answer; its message stands above`);
      const answer = JSON.parse(value) as Answer | { error: string };
      if ("error" in answer) throw new Error(answer.error);
      return answer;
    },
    stop() {
      running?.child.kill();
      running = null;
    },
  };
}

function start(python: string, file: string): { child: ChildProcess; answers: AsyncIterator<string> } {
  const child = spawn(python, [file], {
    env: { ...process.env, HF_HUB_OFFLINE: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  return { child, answers: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}
