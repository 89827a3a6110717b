import test from "ava";
import pc from "picocolors";
import type { Terminal } from "#src/cli/terminal.js";
import { watchStudy } from "#src/cli/watch-study.js";
import type { RunEvent } from "#src/training/events.js";
import { syntheticResult, syntheticTrial } from "../helpers/synthetic-study.js";

/** A terminal that keeps what it is told. */
function recorder(live: boolean) {
  const lines: string[] = [];
  const shown = { status: "" };
  const terminal: Terminal = {
    ...{ live, colors: pc.createColors(false), width: 100 },
    line: (text = "") => lines.push(text),
    warn: (text) => lines.push(`warning: ${text}`),
    status: (text) => (shown.status = text),
    clear: () => {},
  };
  return { terminal, lines, shown };
}

const step = (step: number, seconds: number): RunEvent => ({
  ...{ type: "step", step, steps: 40, epoch: 0, loss: 0.5, gradNorm: 1, learningRate: 1e-5, tokens: 100 * step },
  elapsedMs: 1000 * seconds,
});
const start: RunEvent = {
  ...{ type: "start", task: "toy", metric: "accuracy", steps: 40, initialised: [], transfer: null },
  rows: { train: 100, validation: 50, test: 50 },
};

test("a terminal shows a bar with runs, time left and rate, and a line per worker with cell, seed, step, loss and best", (t) => {
  const { terminal, lines, shown } = recorder(true);
  const watch = watchStudy(terminal);
  const trials = [0, 1, 2, 3].map((seed) => syntheticTrial("paper", "toy", seed));
  const [first, second, third] = trials as [(typeof trials)[0], (typeof trials)[0], (typeof trials)[0]];
  watch({ type: "planned", trials, finished: [first], failed: [] });
  t.deepEqual(lines, ["4 runs; 1 of them are finished already"]);
  watch({ type: "trial-start", worker: 0, trial: second });
  watch({ type: "trial-start", worker: 1, trial: third });
  for (const event of [start, step(1, 1), step(10, 10)])
    watch({ type: "trial-event", worker: 0, trial: second, event });
  watch({
    ...{ type: "trial-event", worker: 0, trial: second },
    event: { type: "evaluation", step: 10, steps: 40, validation: { accuracy: 0.75 }, best: true, elapsedMs: 11_000 },
  });
  for (const event of [step(11, 12), step(20, 21)]) watch({ type: "trial-event", worker: 0, trial: second, event });
  const [head, one, two] = shown.status.split("\n");
  // 20 steps of 21 s, 40 of two others at 42 s: 105 s for two workers.
  t.regex(head ?? "", /^█+.*░ +37% {2}1 of 4 runs {2}ETA 52\.5 s {2}32\.0 rows\/s$/);
  t.is(one, "paper, seed 1  step 20/40  loss 0.5000  best accuracy 0.7500");
  t.is(two, "paper, seed 2  starting");

  watch({ type: "trial-end", worker: 0, trial: second, result: syntheticResult(0.8, { seed: 1 }) });
  t.is(lines.at(-1), "2/4  paper on toy, seed 1  test accuracy 0.8000  6.0 s");
  t.is(shown.status.split("\n").length, 2);
  watch({
    type: "planned",
    trials: [...trials, syntheticTrial("chosen", "toy", 0)],
    finished: [first, second],
    failed: [],
  });
  t.is(lines.at(-1), "1 run more: what they depend on is finished");
});

test("an intermediate task is shown, and counts towards the time left", (t) => {
  const { terminal, shown } = recorder(true);
  const watch = watchStudy(terminal);
  const plain = syntheticTrial("paper", "toy", 0);
  const trial = { ...plain, fingerprint: { ...plain.fingerprint, transfer: "mnli" } };
  watch({ type: "planned", trials: [trial], finished: [], failed: [] });
  watch({ type: "trial-start", worker: 0, trial });
  const event: RunEvent = { type: "transfer", event: step(30, 30) };
  watch({ type: "trial-event", worker: 0, trial, event });
  t.regex(shown.status, /0 of 1 run {2}ETA 10\.0 s or more\n.*intermediate task: step 30\/40/);
});

test("elsewhere than on a terminal there are plain lines alone", (t) => {
  const { terminal, lines, shown } = recorder(false);
  const watch = watchStudy(terminal);
  const trial = syntheticTrial("paper", "toy", 0);
  watch({ type: "planned", trials: [trial], finished: [], failed: [] });
  watch({ type: "trial-start", worker: 0, trial });
  watch({ type: "trial-event", worker: 0, trial, event: step(1, 1) });
  watch({ type: "trial-end", worker: 0, trial, result: syntheticResult(null) });
  t.is(shown.status, "");
  t.deepEqual(lines, ["1 run", "1/1  paper on toy, seed 0  test accuracy -  6.0 s  diverged at step 3 of 40"]);
});
