import { copyFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { AbortedError } from "#src/errors.js";
import { estimateStudy } from "#src/study/estimate.js";
import { parseStudy } from "#src/study/file.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

function study(folder: string) {
  tinyModel(folder);
  copyFileSync(ticketsFile, join(folder, "tickets.csv"));
  return parseStudy(
    {
      name: "tickets",
      base: { model: "./tiny-bert", data: "./tickets.csv", text: "body", label: "queue", maxLength: 32, batchSize: 16 },
      stages: [
        {
          name: "search",
          recipes: [
            { name: "plain", steps: 50 },
            { name: "reinit", steps: 50, methods: [{ name: "reinit" }], grid: { "methods.0.layers": [1, 2] } },
            { name: "mixout", steps: 50, methods: [{ name: "mixout", p: 0.1 }] },
          ],
          seeds: 4,
        },
        {
          name: "table",
          recipes: [
            { name: "reinit", select: { stage: "search", recipe: "reinit" } },
            { name: "longer", select: { stage: "search", recipe: "reinit" }, steps: 100 },
          ],
          seeds: 6,
        },
      ],
    },
    { source: "study.json", folder },
  );
}

test("a study is estimated by kinds of runs, from steps that are timed once for each", async (t) => {
  const seen: string[] = [];
  const { kinds, runs, seconds, disk } = await estimateStudy(study(temporaryFolder(t)), {
    workers: 2,
    onKind: ({ task }, number, of) => seen.push(`${number} of ${of}: ${task}`),
  });
  // 16 in the search; of the chosen depth two more seeds, and six of the longer runs.
  t.is(runs, 16 + 2 + 6);
  t.deepEqual(
    kinds.map((kind) => [kind.methods, kind.runs, kind.batchSize]),
    [
      [[], 12 + 2 + 6, 16],
      [["mixout"], 4, 16],
    ],
  );
  t.is(seen.length, 2);
  const [plain, mixout] = kinds;
  t.true(plain!.seconds > (14 * 50 + 6 * 100) * plain!.secondsPerStep);
  t.true(mixout!.seconds > 4 * 50 * mixout!.secondsPerStep);
  t.is(seconds, plain!.seconds + mixout!.seconds);
  t.true(plain!.secondsPerStep > 0 && disk.results > 0 && disk.states > 0);
});

test("an estimate stops on a signal", async (t) => {
  const stop = new AbortController();
  const estimate = estimateStudy(study(temporaryFolder(t)), {
    workers: 1,
    signal: stop.signal,
    onKind: () => stop.abort(),
  });
  await t.throwsAsync(estimate, { instanceOf: AbortedError });
});
