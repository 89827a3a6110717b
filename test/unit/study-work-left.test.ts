import test from "ava";
import { secondsLeft, workLeft } from "#src/study/work-left.js";

test("nothing is promised before something is known, and nothing is left at the end", (t) => {
  t.is(workLeft([{ finished: [], running: [{ step: 0, steps: 0, seconds: 0 }], waiting: 3 }]), null);
  t.deepEqual(workLeft([{ finished: [10, 12], running: [], waiting: 0 }]), { seconds: 0, longest: 0, atLeast: false });
});

test("waiting trials take what finished ones of their cell took, and those at work what they still have to do", (t) => {
  const cell = { finished: [10, 14], running: [{ step: 25, steps: 100, seconds: 4 }], waiting: 2 };
  const left = workLeft([cell]);
  t.deepEqual(left, { seconds: 12 + 24, longest: 12, atLeast: false });
  t.is(secondsLeft(left!, 2), 18);
  t.is(secondsLeft(left!, 100), 12, "no sooner than one trial takes");
});

test("a cell of which nothing is known counts as the others; a running trial tells of its cell", (t) => {
  const begun = { finished: [], running: [{ step: 50, steps: 100, seconds: 5 }], waiting: 1 };
  const unknown = { finished: [], running: [], waiting: 2 };
  t.is(workLeft([begun, unknown])?.seconds, 5 + 10 + 20);
});

test("an intermediate task adds its own steps; one that has not begun makes the rest a lower bound", (t) => {
  const cell = { finished: [10], running: [], waiting: 1 };
  const begun = { finished: [], running: [{ step: 10, steps: 40, seconds: 20 }], waiting: 0 };
  t.deepEqual(workLeft([cell], [begun]), { seconds: 10 + 60, longest: 60, atLeast: false });
  t.deepEqual(workLeft([cell], [{ finished: [], running: [], waiting: 1 }]), {
    ...{ seconds: 10, longest: 10, atLeast: true },
  });
});
