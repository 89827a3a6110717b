import test from "ava";
import { choiceOf } from "#src/cli/study/choice.js";
import { ConfigError } from "#src/errors.js";

test("tasks and seeds are given with commas between them, and a single number of seeds is their count", (t) => {
  const choice = { preset: undefined, tasks: undefined, seeds: undefined };
  t.deepEqual(choiceOf({}), choice);
  t.deepEqual(choiceOf({ preset: "small", tasks: "RTE, CoLA 1k" }), {
    ...choice,
    preset: "small",
    tasks: ["RTE", "CoLA 1k"],
  });
  t.is(choiceOf({ seeds: "5" }).seeds, 5);
  t.deepEqual(choiceOf({ seeds: "0,7, 11" }).seeds, [0, 7, 11]);
});

test("seeds that are neither a count nor a list are refused", (t) => {
  for (const seeds of ["0", "", "five", "1.5", "-1", "1,1", "1,,2", "4294967296,1"]) {
    t.throws(() => choiceOf({ seeds }), { instanceOf: ConfigError, message: /--seeds must be a count or a list/ });
  }
});
