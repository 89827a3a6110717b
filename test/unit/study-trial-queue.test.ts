import test from "ava";
import type { ResolvedConfig } from "#src/config/schema.js";
import type { Trial } from "#src/study/plan.js";
import { TrialQueue } from "#src/study/trial-queue.js";
import { preparedKey } from "#src/training/prepare.js";

function trial(id: string, { model = "bert", transfer }: { model?: string; transfer?: string } = {}): Trial {
  const config = { model, data: "tickets.csv", ...(transfer !== undefined && { transfer: { data: transfer } }) };
  return { id, config: config as ResolvedConfig, fingerprint: { transfer } } as Trial;
}

test("trials come in their order, those first that need what the worker has loaded", (t) => {
  const queue = new TrialQueue([trial("a"), trial("b", { model: "roberta" }), trial("c")]);
  const first = queue.take(null)!;
  t.is(first.id, "a");
  t.is(queue.take(preparedKey(first.config))?.id, "c");
  t.is(queue.take(preparedKey(first.config))?.id, "b");
  t.is(queue.take(null), null);
});

test("while one worker trains an intermediate task, others take trials that need not wait for it", (t) => {
  const waits = { transfer: "mnli" };
  const queue = new TrialQueue([
    trial("a", waits),
    trial("b", waits),
    trial("c", waits),
    trial("d"),
    trial("e", waits),
  ]);
  const first = queue.take(null)!;
  t.is(first.id, "a");
  t.is(queue.take(null)?.id, "d");
  t.is(queue.take(null)?.id, "b", "nothing else is left: it waits");
  queue.started(first);
  t.is(queue.take(null)?.id, "c");
});

test("an intermediate task that failed with its first trial is tried by the next one", (t) => {
  const queue = new TrialQueue([trial("a", { transfer: "mnli" }), trial("b", { transfer: "mnli" }), trial("c")]);
  const first = queue.take(null)!;
  queue.ended(first);
  t.is(queue.take(null)?.id, "b");
});

test("a trial that is put back comes again", (t) => {
  const queue = new TrialQueue([trial("a"), trial("b")]);
  queue.putBack(queue.take(null)!);
  t.deepEqual([queue.take(null)?.id, queue.take(null)?.id, queue.length], ["b", "a", 0]);
});
