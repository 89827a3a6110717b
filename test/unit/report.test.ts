import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { parse } from "csv-parse/sync";
import { printReport } from "#src/cli/report.js";
import { ConfigError } from "#src/errors.js";
import { bandOf } from "#src/report/band-chart.js";
import { tickStep, type Figure } from "#src/report/chart.js";
import { figuresOf, isFigureFile } from "#src/report/figures.js";
import { metricName, pValue, points, seconds } from "#src/report/format.js";
import { htmlPage } from "#src/report/html.js";
import { windowMeans } from "#src/report/read-curves.js";
import { readStudy } from "#src/report/read-study.js";
import type { ReportCell, ReportRun } from "#src/report/report-data.js";
import { summarize, type CellSummary } from "#src/report/summary.js";
import { writeReport } from "#src/report/write-report.js";
import { requireManifest, writeManifest, type PlannedCell } from "#src/study/manifest.js";
import { readStatus } from "#src/study/status.js";
import { recordFailure } from "#src/study/trial.js";
import type { RunResult } from "#src/training/result.js";
import {
  syntheticResult,
  syntheticTrial,
  writeSyntheticStudy,
  type SyntheticCell,
} from "../helpers/synthetic-study.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const biased: SyntheticCell = { recipe: "biased", scores: [0.5, 0.7, 0.6] };
const debiased: SyntheticCell = {
  ...{ recipe: "debiased", scores: [0.8, 0.82, 0.81], steps: 120 },
  config: { optimizer: { learningRate: 1e-4 } },
};

async function study(t: ExecutionContext, cells: SyntheticCell[], title?: string): Promise<string> {
  const folder = temporaryFolder(t);
  await writeSyntheticStudy(folder, cells, title);
  return folder;
}

const near = (t: ExecutionContext, actual: number | null | undefined, expected: number): void => {
  t.true(Math.abs((actual ?? NaN) - expected) < 1e-9, `${actual} instead of ${expected}`);
};

test("a cell is summed up by mean, sample deviation, median, extremes and degenerate runs", async (t) => {
  const [first, second] = summarize(await readStudy(await study(t, [biased, debiased])));
  near(t, first?.mean, 0.6);
  near(t, first?.std, 0.1);
  t.like(first, { runs: 3, planned: 3, median: 0.6, worst: 0.5, best: 0.7, degenerate: 1, diverged: 0, pHigher: null });
  // Student's t = 0.21 / sqrt(0.00505 * 2 / 3) = 3.61926 with 4 degrees of freedom.
  near(t, Math.round(1e6 * (second?.pHigher ?? NaN)) / 1e6, 0.011186);
});

test("a run that diverged counts as degenerate and diverged, and is in no mean", async (t) => {
  const [cell] = summarize(await readStudy(await study(t, [{ recipe: "r", scores: [0.8, null, 0.6] }])));
  near(t, cell?.mean, 0.7);
  t.like(cell, { runs: 3, degenerate: 1, diverged: 1 });
});

test("a cell with one run has no deviation, one without any has no mean", async (t) => {
  const folder = await study(t, [
    { recipe: "one", scores: [0.8, undefined] },
    { recipe: "none", scores: [undefined, undefined] },
  ]);
  const [one, none] = summarize(await readStudy(folder));
  t.like(one, { mean: 0.8, std: null, runs: 1, planned: 2 });
  t.like(none, { mean: null, runs: 0, planned: 2, pHigher: null });
  await t.notThrowsAsync(writeReport([folder], folder));
});

test("the page stands alone: no script, nothing fetched, every figure inside", async (t) => {
  const folder = await study(t, [biased, debiased]);
  const { path } = await writeReport([folder], folder);
  const html = readFileSync(path, "utf8");
  t.is(html.match(/<svg/g)?.length, 4);
  t.notRegex(html, /<script|<link|<img|url\(http|@import|src=/);
  const addresses = [...html.matchAll(/https?:\/\/[^"'\s)<]+/g)].map(([address]) => address);
  t.deepEqual(
    [...new Set(addresses)].filter((address) => !address.startsWith("http://www.w3.org/")),
    [],
  );
});

test("behind the study's description stands what of it there is: tasks, and how many runs are planned", async (t) => {
  const lead = async (cells: SyntheticCell[]): Promise<string | undefined> => {
    const folder = await study(t, cells);
    return /<p class="lead">([^<]*)/.exec(readFileSync((await writeReport([folder], folder)).path, "utf8"))?.[1];
  };
  const some = { recipe: "r", task: "RTE", scores: [0.7, undefined] };
  t.is(await lead([some]), "Made up by a test. In this report: RTE, with 2 runs of each recipe.");
  t.is(
    await lead([some, { ...biased, task: "CoLA" }]),
    "Made up by a test. In this report: RTE, CoLA, with 2 to 3 runs of each recipe.",
  );
});

test("every run is a dot of the box plot, degenerate ones hollow", async (t) => {
  const folder = await study(t, [biased, debiased]);
  await writeReport([folder], folder);
  const svg = readFileSync(join(folder, "figures/scores.svg"), "utf8");
  const dots = svg.match(/<path d="M1 0A1 1 [^>]*stroke="#(D55E00|0072B2)"[^>]*>/g) ?? [];
  t.is(dots.length, 6);
  t.is(dots.filter((dot) => /fill="#fff(fff)?"/.test(dot)).length, 1);
});

test("names under neighbouring boxes are broken between words before they touch", async (t) => {
  const lengths = [100, 200, 400, 800, 1600, 3200];
  const folder = await study(
    t,
    lengths.map((steps) => ({ recipe: `Re-init, steps ${steps}`, scores: [0.5] })),
  );
  await writeReport([folder], folder);
  const svg = readFileSync(join(folder, "figures/scores.svg"), "utf8");
  const lines = [...svg.matchAll(/<(?:text|tspan)[^>]*>([^<]+)/g)].map(([, line = ""]) => line);
  t.is(lines.filter((line) => line === "Re-init, steps").length, lengths.length);
  for (const steps of lengths) t.true(lines.includes(String(steps)));
});

test("the caption of either box plot says on which rows a run of a hollow dot is no better than the majority", async (t) => {
  const hollow = async (cell: SyntheticCell): Promise<(string | undefined)[]> => {
    const folder = await study(t, [cell]);
    return captions((await writeReport([folder], folder)).path)
      .filter((caption) => caption.includes("Boxes span"))
      .map((caption) => /Hollow dots [^.]*/.exec(caption)?.[0]);
  };
  const said = "Hollow dots are degenerate runs: no better on the test rows than always predicting the majority class";
  t.deepEqual(await hollow({ recipe: "r", scores: [0.5, 0.7], validation: [0.6, 0.7] }), [said, said]);
  // A run that diverged before its first evaluation is degenerate, and is no dot.
  t.deepEqual(await hollow({ recipe: "r", scores: [null, 0.7] }), [undefined, undefined]);
});

test("a cell that takes the config of the best of an earlier stage says which, and how good that was", async (t) => {
  const among = [1, 2].map((layers) => ({
    recipe: `layers ${layers}`,
    mean: 0.7 + layers / 100,
    runs: 3,
    withoutScore: 0,
  }));
  const folder = await study(t, [biased, { ...debiased, choice: { recipe: "layers 2", among } }]);
  const html = readFileSync((await writeReport([folder], folder)).path, "utf8");
  t.true(
    html.includes(
      "“debiased” takes the config of “layers 2”, which has the best mean validation score, 72.0 over 3 runs among 2.",
    ),
  );
});

test("a cell that starts from an intermediate task says which, and how good that was", async (t) => {
  const folder = await study(t, [biased, debiased]);
  const transfer = { id: "0123456789abcdef", task: "MNLI", step: 12, metric: "accuracy", score: 0.8125 };
  for (const seed of [0, 1, 2]) {
    const path = join(folder, `trials/debiased-toy-${seed}/result.json`);
    writeFileSync(path, JSON.stringify({ ...syntheticResult(0.8, { seed }), transfer }));
  }
  const html = readFileSync((await writeReport([folder], folder)).path, "utf8");
  const said = html.match(/“[^”]*” starts from the intermediate task MNLI: [^<]*/g);
  t.deepEqual(said?.length, 1);
  t.regex(said?.[0] ?? "", /^“debiased” .* step 12, validation accuracy \(%\) 81\.3/);
});

test("names with markup or commas come through the page and the tables unharmed", async (t) => {
  const name = 'a <b>, "quoted" & more';
  const folder = await study(t, [{ recipe: name, scores: [0.7, 0.8] }], "<script>alert(1)</script>");
  const { path } = await writeReport([folder], folder);
  const html = readFileSync(path, "utf8");
  t.notRegex(html, /<script>|<b>/);
  const rows = parse<Record<string, string>>(readFileSync(join(folder, "trials.csv"), "utf8"), { columns: true });
  t.deepEqual(
    rows.map(({ recipe, test: score }) => [recipe, score]),
    [
      [name, "0.7"],
      [name, "0.8"],
    ],
  );
});

test("the same study gives the same files, byte for byte", async (t) => {
  const folder = await study(t, [biased, debiased]);
  const read = async (output: string): Promise<Record<string, string>> => {
    await writeReport([folder], output);
    const names = [
      "table.csv",
      "trials.csv",
      "study.json",
      ...readdirSync(join(output, "figures")).map((f) => `figures/${f}`),
    ];
    return Object.fromEntries(names.map((name) => [name, readFileSync(join(output, name), "utf8")]));
  };
  const [first, second] = [await read(temporaryFolder(t)), await read(temporaryFolder(t))];
  for (const [name, content] of Object.entries(first)) t.true(content === second[name], name);
});

test("study.json holds every result", async (t) => {
  const folder = await study(t, [biased, debiased]);
  await writeReport([folder], folder);
  const { cells } = JSON.parse(readFileSync(join(folder, "study.json"), "utf8")) as {
    cells: { recipe: string; trials: { result: unknown }[] }[];
  };
  t.deepEqual(
    cells.map(({ recipe, trials }) => [recipe, trials.length]),
    [
      ["biased", 3],
      ["debiased", 3],
    ],
  );
  t.deepEqual(cells[0]?.trials[1]?.result, syntheticResult(0.7, { seed: 1 }));
});

test("a study.json that is no report's is refused before anything is written, and stays as it is", async (t) => {
  const folder = await study(t, [biased, debiased]);
  const before = readdirSync(folder);
  for (const [own, said] of [
    ['{ "name": "mine", "stages": [{ "recipes": [] }] }', /study\.json is a study's file/],
    ['{ "name": "half-wri', /study\.json is no report's/],
  ] as const) {
    writeFileSync(join(folder, "study.json"), own);
    const error = await t.throwsAsync(writeReport([folder], folder), { instanceOf: ConfigError, message: said });
    t.regex(error.hint ?? "", /--output/);
    t.is(readFileSync(join(folder, "study.json"), "utf8"), own);
    t.deepEqual(readdirSync(folder).sort(), [...before, "study.json"].sort());
  }
});

test("a report takes the place of an earlier one, with its figures and not with other files there", async (t) => {
  const folder = temporaryFolder(t);
  await writeSyntheticStudy(folder, stages);
  await writeReport([folder], folder);
  t.deepEqual(figuresIn(folder).sort(), [
    ...["bias-ratio", "length-2", "loss-1", "loss-2", "scores-1", "scores-2", "validation-1", "validation-2"],
    ...["validation-scores-1", "validation-scores-2"],
  ]);
  for (const own of ["scores-1.png", "diagram.svg"]) writeFileSync(join(folder, "figures", own), "own");
  await writeSyntheticStudy(folder, [debiased]);
  await writeReport([folder], folder);
  t.deepEqual(readdirSync(join(folder, "figures")).sort(), [
    ...["diagram.svg", "loss.svg", "scores-1.png", "scores.svg", "validation-scores.svg", "validation.svg"],
  ]);
});

test("a thousand runs with everything that is drawn make a page below 3 MB", (t) => {
  const curve = (value: (x: number) => number): [number, number][] =>
    Array.from({ length: 30 }, (_, i) => [8 * (i + 1), value((i + 1) / 30)]);
  const blocks = ["embeddings", ...Array.from({ length: 24 }, (_, i) => `blocks.${i}`), "pooler", "classifier"];
  const run = (seed: number, score: number): ReportRun => ({
    ...{ id: "0123456789abcdef", seed: `seed ${seed}`, result: syntheticResult(score, { seed, steps: 240 }) },
    curves: {
      loss: curve((x) => 0.7 - x * score * Math.sin(seed)),
      validation: curve((x) => 0.5 + 0.3 * x * score).slice(0, 10),
      distances: Object.fromEntries(
        blocks.map((block, i) => [block, curve((x) => Math.sqrt(x) * score * (1 + i / 24))]),
      ),
    },
  });
  const recipes = ["Standard", "Int. Task", "LLRD", "Mixout", "Pre-trained WD", "WD", "Re-init", "Longer"];
  const cells = ["RTE", "MRPC", "STS-B", "CoLA"].flatMap((task) =>
    recipes.map((recipe, i) => ({
      ...{ stage: "only", task, recipe, family: recipe, planned: 32, disagreement: 0.1 },
      config: syntheticTrial(recipe, task, 0, { optimizer: { biasCorrection: i > 0, learningRate: i } }).config,
      published: { test: { mean: 70, std: 2, n: 20, source: "Table 2" } },
      choice: null,
      runs: Array.from({ length: 32 }, (_, seed) => run(seed, 0.5 + (((seed + i) * 37) % 97) / 250)),
    })),
  );
  const data = { title: "Table 2", description: null, cells, failed: [], later: [] };
  const figures = figuresOf(data);
  t.is(figures.length, 4 * 8 + 1);
  t.true(figures.every(({ name }) => isFigureFile(`${name}.svg`)));
  const { length } = Buffer.from(htmlPage(data, summarize(data), figures));
  t.true(length < 3e6, `${length} bytes`);
  t.log(`${length} bytes`);
});

const figuresIn = (folder: string): string[] => readdirSync(join(folder, "figures")).map((name) => name.slice(0, -4));
const drawn = (folder: string, figure: string): string => readFileSync(join(folder, `figures/${figure}.svg`), "utf8");
const captions = (path: string): string[] =>
  [...readFileSync(path, "utf8").matchAll(/<figcaption>([^<]*)/g)].map(([, caption = ""]) => caption);

test("a figure appears only where its data exist", async (t) => {
  const few = await study(t, [biased, debiased]);
  await writeReport([few], few);
  t.deepEqual(figuresIn(few).sort(), ["loss", "scores", "validation", "validation-scores"]);

  const seeds = [0, 1].flatMap((initSeed) => [5, 6, 7].map((orderSeed) => ({ initSeed, orderSeed })));
  const scores = [0.6, 0.7, 0.65, 0.75, 0.8, 0.7];
  const all = await study(t, [
    {
      recipe: "short",
      scores,
      seeds,
      steps: 40,
      blocks: 8,
      config: { steps: 40, optimizer: { biasCorrection: false } },
    },
    {
      recipe: "long",
      scores,
      seeds,
      steps: 80,
      blocks: 8,
      config: { steps: 80, optimizer: { biasCorrection: false } },
    },
  ]);
  const { path } = await writeReport([all], all);
  t.deepEqual(figuresIn(all).sort(), [
    ...["bias-ratio", "distance", "distance-all", "expected-test", "expected-validation", "length", "loss"],
    ...["scores", "seeds-1", "seeds-2", "validation", "validation-scores", "validation-seeds-1", "validation-seeds-2"],
  ]);
  for (const figure of figuresIn(all)) t.notRegex(drawn(all, figure), /NaN|undefined|Infinity/, figure);
  for (const caption of captions(path)) t.regex(caption, /\b(6|12) runs|eps left aside/, "every caption says n");
});

test("figures of runs that are all equal, or all without a score, have labels on their axes and no complaint", (t) => {
  const said: unknown[] = [];
  const { error, warn } = console;
  const flat = (value: number | null): [number, number][] => (value === null ? [] : [10, 20].map((x) => [x, value]));
  const cellOf = (score: number | null, steps: number): ReportCell => ({
    ...{ stage: "only", task: "toy", recipe: `steps ${steps}`, family: "same", planned: 6, disagreement: null },
    ...{ published: {}, choice: null },
    config: syntheticTrial("same", "toy", 0, { steps, optimizer: { biasCorrection: false } }).config,
    runs: [0, 1].flatMap((initSeed) =>
      [5, 6, 7].map((orderSeed) => ({
        ...{ id: "0123456789abcdef", seed: `init ${initSeed}, order ${orderSeed}` },
        result: syntheticResult(score, { seeds: { seed: 0, initSeed, orderSeed }, steps }),
        curves: { loss: flat(score ?? NaN), validation: flat(score), distances: { "blocks.0": flat(score && 0) } },
      })),
    ),
  });
  for (const score of [0.5, 0.527, 0, 1, null]) {
    Object.assign(console, { error: said.push.bind(said), warn: said.push.bind(said) });
    let figures: Figure[];
    try {
      const cells = [cellOf(score, 40), cellOf(score, 80)];
      figures = figuresOf({ title: "Flat", description: null, cells, failed: [], later: [] });
    } finally {
      Object.assign(console, { error, warn });
    }
    t.deepEqual(said, []);
    t.is(figures.length, score === null ? 1 : 13);
    for (const { name, svg } of figures) {
      t.notRegex(svg, /NaN|undefined|Infinity/, `${name} of ${score}`);
      // Numbers along the y axis end where the axis begins.
      const labels = [...svg.matchAll(/<text[^>]*text-anchor="end"[^>]*>(-?[\d.]+)</g)];
      if (!/^(validation-)?seeds/.test(name))
        t.true(labels.length >= 3, `${name} of ${score}: ${labels.length} labels`);
      for (const [, label = ""] of labels) t.true(label.length <= 6, `${name} of ${score}: ${label}`);
    }
  }
});

test("the grid of seeds shows every run and the deviations that NumPy gives along rows and columns", async (t) => {
  const seeds = [0, 1].flatMap((initSeed) => [5, 6, 7].map((orderSeed) => ({ initSeed, orderSeed })));
  const folder = await study(t, [{ recipe: "r", scores: [0.61, 0.72, 0.65, 0.75, 0.8, 0.7], seeds }]);
  await writeReport([folder], folder);
  const texts = [...drawn(folder, "seeds-1").matchAll(/<text[^>]*>([^<]*)</g)].map(([, text]) => text);
  for (const score of ["61.0", "72.0", "65.0", "75.0", "80.0", "70.0"]) t.true(texts.includes(score), score);
  // numpy.std of the rows, the columns and all six, ddof=1, times 100.
  for (const std of ["5.57", "5.00", "9.90", "5.66", "3.54", "6.83"]) t.true(texts.includes(std), std);
});

test("a grid of seeds is drawn of validation scores, as the paper's, and then of test scores", async (t) => {
  const seeds = [0, 1].flatMap((initSeed) => [5, 6].map((orderSeed) => ({ initSeed, orderSeed })));
  const cell = { recipe: "r", scores: [0.61, 0.72, 0.65, 0.75], validation: [0.51, 0.52, 0.53, 0.54], seeds };
  const folder = await study(t, [cell]);
  const { path } = await writeReport([folder], folder);
  t.true(drawn(folder, "validation-seeds-1").includes(">51.0</text>"));
  t.true(drawn(folder, "seeds-1").includes(">61.0</text>"));
  t.deepEqual(
    captions(path).flatMap((caption) => caption.match(/checkpoint on 250 (validation|test) rows; none/)?.[1] ?? []),
    ["validation", "test"],
  );
});

test("runs of several lengths make a line per recipe, with a point per length", async (t) => {
  const cell = (recipe: string, steps: number, layers: number, scores: number[]): SyntheticCell => ({
    ...{ recipe: `${recipe}, steps ${steps}`, grid: { recipe }, scores, steps },
    config: { steps, methods: layers === 0 ? [] : [{ name: "reinit", layers }] },
  });
  const folder = await study(t, [
    cell("Standard", 100, 0, [0.6, 0.62]),
    cell("Standard", 200, 0, [0.66, 0.68]),
    cell("Re-init", 100, 5, [0.7, 0.72]),
    cell("Re-init", 200, 5, [0.74, 0.76]),
  ]);
  const { path } = await writeReport([folder], folder);
  const svg = drawn(folder, "length");
  for (const said of ["Standard", "Re-init", "100", "200"]) t.true(svg.includes(`>${said}</text>`), said);
  t.true(captions(path).some((caption) => caption.startsWith("2 runs each. Lines are means over runs, bands")));
});

/** Two stages on one task, of which the second has a run of the first. */
const stages: SyntheticCell[] = [
  { ...biased, stage: "tuning", config: { optimizer: { biasCorrection: false } } },
  { ...debiased, stage: "tuning" },
  { ...debiased, stage: "final" },
  { ...debiased, stage: "final", recipe: "longer", steps: 240 },
];

test("with several stages, titles, headings and printed tables name theirs; with one they do not", async (t) => {
  const several = await study(t, stages);
  const html = readFileSync((await writeReport([several], several)).path, "utf8");
  const headings = [...html.matchAll(/<h2>([^<]*)/g)].map(([, heading]) => heading);
  t.deepEqual(headings, [
    ...["toy (tuning)", "Compared with “biased”, toy (tuning)"],
    ...["toy (final)", "Compared with “debiased”, toy (final)"],
  ]);
  const titles = [...html.matchAll(/aria-label="([^"]*)/g)].map(([, title = ""]) => title);
  t.is(new Set(titles).size, titles.length, "no two figures have one title");
  t.deepEqual(
    titles.filter((title) => title.startsWith("Test")),
    ["Test accuracy on toy (tuning)", "Test accuracy on toy (final)"],
  );
  t.true(drawn(several, "scores-2").includes(">Test accuracy on toy (final)</text>"));
  t.regex(html, /<th scope="row">biased<\/th><td>toy \(tuning\)<\/td>/);
  t.true(captions(join(several, "report.html")).some((caption) => caption.includes("toy (tuning): step 40")));
  t.deepEqual(printed(summarize(await readStudy(several))), ["toy (tuning)", "toy (final)"]);

  const one = await study(t, [biased, debiased]);
  t.notRegex(readFileSync((await writeReport([one], one)).path, "utf8"), /toy \(/);
  t.deepEqual(printed(summarize(await readStudy(one))), ["toy"]);
});

test("a run that is in several cells counts once, with its time", async (t) => {
  const folder = await study(t, stages);
  const html = readFileSync((await writeReport([folder], folder)).path, "utf8");
  // Nine runs of six seconds; those of "debiased" are in both stages.
  t.regex(html, /<p class="facts">9 runs · [^<]* · 54 s of computing</);
  t.regex(html, /<summary>All 9 runs, in each of their cells</);
});

test("the page names runs that failed and cells that wait for a choice, and says nothing where there are none", async (t) => {
  const missing = async (folder: string): Promise<string | undefined> =>
    /<p class="missing">([^<]*)/.exec(readFileSync((await writeReport([folder], folder)).path, "utf8"))?.[1];
  const folder = await study(t, [
    { recipe: "wide", scores: [0.7, undefined, undefined] },
    { recipe: "deep", scores: [0.8, 0.81, undefined] },
  ]);
  t.is(await missing(folder), undefined, "a run that is not finished has not failed");

  const { study: header, trials } = await requireManifest(folder);
  const cells = ["toy", "other"].map((task): PlannedCell => {
    const select = { stage: "only", recipe: null, own: {}, seeds: [], choice: null };
    return { stage: "final", task, recipe: "best", grid: null, select, expected: null };
  });
  await writeManifest(folder, { study: { ...header, cells: [...(header.cells ?? []), ...cells] }, trials });
  await recordFailure(folder, trials[1]!, new ConfigError("the first reason."));
  await recordFailure(folder, trials[5]!, new ConfigError("a < b"));
  t.is(
    await missing(folder),
    "2 runs failed and are not in these numbers: “wide” on toy (only), seed 1 (the first reason); " +
      "“deep” on toy (only), seed 2 (a &#60; b). " +
      "“best” on toy (final), other (final) waits for the choice in stage “only”.",
  );
});

test("study.json holds what failed, what waits, and what choices rest on", async (t) => {
  const among = [{ recipe: "wide", mean: 0.7, runs: 1, withoutScore: 0 }];
  const choice = { recipe: "wide", among };
  const folder = await study(t, [
    { recipe: "wide", scores: [0.7, undefined] },
    { recipe: "best", stage: "final", scores: [undefined], choice },
  ]);
  const { study: header, trials } = await requireManifest(folder);
  const select = { stage: "only", recipe: null, own: {}, seeds: [], choice: null };
  const waits: PlannedCell = { stage: "final", task: "other", recipe: "best", grid: null, select, expected: null };
  await writeManifest(folder, { study: { ...header, cells: [...(header.cells ?? []), waits] }, trials });
  await recordFailure(folder, trials[1]!, new ConfigError("no room"));
  await writeReport([folder], folder);
  const { failed, later, cells } = JSON.parse(readFileSync(join(folder, "study.json"), "utf8")) as {
    failed: unknown;
    later: unknown;
    cells: { choice: unknown }[];
  };
  t.deepEqual(failed, [{ stage: "only", task: "toy", recipe: "wide", seed: "seed 1", message: "no room" }]);
  t.deepEqual(later, [{ stage: "final", task: "other", recipe: "best", from: "only" }]);
  t.deepEqual(
    cells.map((cell) => cell.choice),
    [null, choice],
  );
});

test("of many failed runs the page names five", async (t) => {
  const folder = await study(t, [{ recipe: "wide", scores: [0.7, ...Array.from({ length: 7 }, () => undefined)] }]);
  const { trials } = await requireManifest(folder);
  for (const trial of trials.slice(1)) await recordFailure(folder, trial, new ConfigError("no room"));
  const html = readFileSync((await writeReport([folder], folder)).path, "utf8");
  t.regex(html, /7 runs failed and are not in these numbers: “wide” on toy, seed 1 \(no room\);.* and 2 more\.</);
});

/** What stands before "test accuracy" in the tables that are printed. */
function printed(summaries: readonly CellSummary[]): string[] {
  const { write } = process.stdout;
  let text = "";
  process.stdout.write = (chunk: string | Uint8Array) => {
    text += chunk.toString();
    return true;
  };
  try {
    printReport(summaries);
  } finally {
    process.stdout.write = write;
  }
  return [...text.matchAll(/^(.*): test accuracy/gm)].map(([, name = ""]) => name);
}

test("published numbers stand beside ours, with a mark where Welch's test tells them apart", async (t) => {
  const published = (mean: number): SyntheticCell["expected"] => ({
    test: { mean, std: 2.5, n: 20, source: "Table 1" },
  });
  const scores = [0.68, 0.7, 0.72, 0.69, 0.71];
  const folder = await study(t, [
    { recipe: "like it", scores, expected: published(69.5) },
    { recipe: "unlike it", scores, expected: published(62.5) },
    { recipe: "without", scores },
  ]);
  const { path, summaries } = await writeReport([folder], folder);
  // scipy.stats.ttest_ind_from_stats(70, 1.5811388, 5, mean, 2.5, 20, equal_var=False)
  near(t, Math.round(1e6 * (summaries[0]?.pPublishedTest ?? NaN)) / 1e6, 0.591583);
  near(t, Math.round(1e9 * (summaries[1]?.pPublishedTest ?? NaN)) / 1e9, 0.000009728);
  t.is(summaries[2]?.pPublishedTest, null);
  const html = readFileSync(path, "utf8");
  t.regex(html, /<span class="published">69\.5 ± 2\.5<\/span>/);
  t.regex(html, /<span class="published"><span class="differs">≠<\/span> 62\.5 ± 2\.5<\/span>/);
  t.regex(html, /what is published \(Table 1\)/);
});

test("several tasks make a table in the paper's layout: more tasks than recipes go down, as in Table 1", async (t) => {
  const cells = ["RTE", "MRPC", "CoLA"].flatMap((task) => [
    { recipe: "Standard", task, scores: [0.6, 0.61, 0.62] },
    { recipe: "Re-init", task, scores: [0.7, 0.71, 0.72] },
  ]);
  const folder = await study(t, cells);
  const html = readFileSync((await writeReport([folder], folder)).path, "utf8");
  const [, table = ""] = /<h2>All tasks<\/h2>(.*?)<\/table>/s.exec(html) ?? [];
  t.regex(table, /Task<\/th>.*Standard<\/th>.*Re-init<\/th>/s);
  t.is(table.match(/<strong>71\.0 ± 1\.0<\/strong>\*†/g)?.length, 3, "the best, and above the first recipe");
  t.is(table.match(/<td>61\.0 ± 1\.0<\/td>/g)?.length, 3);
});

test("the table of all tasks says which recipe the others are compared with, task by task where that differs", async (t) => {
  const scores = [0.6, 0.61, 0.62];
  const cells = [
    { recipe: "Standard", task: "RTE", scores },
    { recipe: "Re-init", task: "RTE", scores },
    { recipe: "Re-init", task: "CoLA", scores },
    { recipe: "Longer", task: "CoLA", scores },
  ];
  const said = async (cells: SyntheticCell[]): Promise<string | undefined> => {
    const folder = await study(t, cells);
    const html = readFileSync((await writeReport([folder], folder)).path, "utf8");
    return /\*: significantly above ([^<]*); †/.exec(html)?.[1];
  };
  t.is(await said(cells), "the first recipe of the task (“Standard” on RTE; “Re-init” on CoLA)");
  t.is(await said([...cells.slice(0, 2), { recipe: "Standard", task: "CoLA", scores }]), "“Standard”");
});

test("bold means the same in the table of a task as in that of all tasks, and is explained there", async (t) => {
  const folder = await study(t, [
    { recipe: "low", scores: [0.5, 0.51, 0.52] },
    { recipe: "level", scores: [0.69, 0.7, 0.72] },
    { recipe: "best", scores: [0.7, 0.71, 0.72] },
  ]);
  const results = async (): Promise<string> => {
    const html = readFileSync((await writeReport([folder], folder)).path, "utf8");
    return /<h2>Results<\/h2>.*?<\/section>/s.exec(html)?.[0] ?? "";
  };
  const several = await results();
  t.deepEqual(
    [...several.matchAll(/<strong>([^ ]*)/g)].map(([, bold]) => bold),
    ["70.3", "71.0"],
  );
  t.regex(several, /Bold: the best mean, or not significantly below it/);

  await writeSyntheticStudy(folder, [{ recipe: "alone", scores: [0.7, 0.71] }]);
  t.notRegex(await results(), /<strong>|Bold/);
});

test("runs of several versions of the numerics are said not to have run on the same", async (t) => {
  const folder = await study(t, [biased]);
  const footer = async (): Promise<string> =>
    /<footer>(.*)<\/footer>/.exec(readFileSync((await writeReport([folder], folder)).path, "utf8"))?.[1] ?? "";
  t.regex(await footer(), /^steadytune 0\.1\.0 \(numerics 1\), libtorch 2\.15\.0/);
  const path = join(folder, "trials/biased-toy-1/result.json");
  const result = JSON.parse(readFileSync(path, "utf8")) as RunResult;
  writeFileSync(path, JSON.stringify({ ...result, versions: { ...result.versions, numerics: 2 } }));
  t.regex(await footer(), /did not all run on the same:.*numerics 1.*; .*numerics 2/);
});

test("cells that differ only in their number format are set beside each other", async (t) => {
  const folder = await study(t, [
    { recipe: "full", scores: [0.7, 0.71, 0.72], config: { dtype: "float32" } },
    { recipe: "mixed", scores: [0.71, 0.72, 0.73], config: { dtype: "bfloat16" } },
    { recipe: "other", scores: [0.8, 0.81], config: { dtype: "bfloat16", epochs: 10 } },
  ]);
  const html = readFileSync((await writeReport([folder], folder)).path, "utf8");
  const [, table = ""] = /<h2>Mixed and full precision<\/h2>(.*?)<\/table>/s.exec(html) ?? [];
  // scipy.stats.ttest_ind([.7, .71, .72], [.71, .72, .73]).pvalue = 0.2879
  t.regex(table, /toy, test<\/th><td>72\.0 ± 1\.0<\/td><td>71\.0 ± 1\.0<\/td><td>0\.288</);
  t.notRegex(table, /80\.5/);
});

test("recipes are compared with the first of their task by five numbers", async (t) => {
  const first: SyntheticCell = { recipe: "first", scores: [0.6, 0.62, 0.64, null] };
  const folder = await study(t, [
    first,
    { recipe: "up", scores: [0.63, 0.66, 0.65, 0.7] },
    { ...first, recipe: "same" },
  ]);
  const [, up, same] = summarize(await readStudy(folder));
  near(t, up?.difference, 0.66 - 0.62);
  // scipy.stats: ttest_ind, ttest_ind(equal_var=False), ttest_rel of the three shared seeds, alternative "greater".
  near(t, Math.round(1e6 * (up?.pHigher ?? NaN)) / 1e6, 0.050427);
  near(t, Math.round(1e6 * (up?.pWelch ?? NaN)) / 1e6, 0.042804);
  near(t, Math.round(1e6 * (up?.pPaired ?? NaN)) / 1e6, 0.047089);
  near(t, up?.pHolm, 2 * (up?.pHigher ?? NaN));
  t.like(up, { pairs: 3, probabilityOfImprovement: 11 / 12 });
  t.like(same, { difference: 0, pHigher: 0.5, pPaired: null, probabilityOfImprovement: 0.5 });
});

test("cells stand in the order of the study's file, in the report and in the status, whatever was planned first", async (t) => {
  const recipes = (cells: { recipe: string }[]): string[] => cells.map(({ recipe }) => recipe);
  const folder = await study(t, [
    { recipe: "later", scores: [0.7, 0.72] },
    { recipe: "dropped", scores: [0.5, 0.52] },
    { recipe: "first", scores: [0.6, 0.62] },
  ]);
  const { study: header, trials } = await requireManifest(folder);
  const cells = header.cells?.filter(({ recipe }) => recipe !== "dropped").reverse() ?? [];
  await writeManifest(folder, { study: { ...header, cells }, trials });
  t.deepEqual(recipes((await readStatus(folder)).cells), ["first", "later", "dropped"]);
  const data = await readStudy(folder);
  t.deepEqual(recipes(data.cells), ["first", "later", "dropped"]);
  const [first, later] = summarize(data);
  t.is(first?.difference, null, "the baseline");
  near(t, later?.difference, 0.1);
});

test("disagreement is read from what runs predicted for the test rows", async (t) => {
  const predictions = [
    ["a", "b", "b", "a"],
    ["a", "b", "a", "a"],
    ["b", "b", "a", "a"],
  ];
  const [cell] = summarize(await readStudy(await study(t, [{ recipe: "r", scores: [0.7, 0.8, 0.75], predictions }])));
  near(t, cell?.disagreement, (1 + 2 + 1) / 3 / 4);
  const [without] = summarize(await readStudy(await study(t, [biased])));
  t.is(without?.disagreement, null);
});

test("study.json holds what to expect of the best of k runs on both halves, by all three estimates", async (t) => {
  const scores = [0.6, 0.7, 0.65, 0.75, 0.8];
  const folder = await study(t, [{ recipe: "r", scores, validation: scores.map((score) => score / 2) }]);
  await writeReport([folder], folder);
  const { cells } = JSON.parse(readFileSync(join(folder, "study.json"), "utf8")) as {
    cells: {
      bestOfK: { k: number; bootstrap: { mean: number }; closedForm: { mean: number }; unbiased: { mean: number } }[];
      bestOfKValidation: { unbiased: { mean: number } }[];
    }[];
  };
  const best = cells[0]?.bestOfK ?? [];
  t.deepEqual(
    best.map(({ k }) => k),
    [1, 2, 3, 4, 5],
  );
  near(t, best[0]?.closedForm.mean, 0.7);
  near(t, best[4]?.unbiased.mean, 0.8);
  near(t, cells[0]?.bestOfKValidation[4]?.unbiased.mean, 0.4);
  // Of ten pairs of different runs the better one is 0.8 four times, 0.75 three times, 0.7 twice and 0.65 once.
  near(t, best[1]?.unbiased.mean, (4 * 0.8 + 3 * 0.75 + 2 * 0.7 + 0.65) / 10);
  t.true(Math.abs((best[1]?.bootstrap.mean ?? NaN) - (best[1]?.closedForm.mean ?? NaN)) < 0.01);
});

test("a score that is no number stands in the file as null, and is no score", async (t) => {
  const folder = await study(t, [{ recipe: "r", scores: [0.7, NaN, 0.8] }]);
  const [cell] = summarize(await readStudy(folder));
  t.like(cell, { runs: 3, scored: 2, mean: 0.75 });
  await t.notThrowsAsync(writeReport([folder], folder));
});

test("single runs that differ only in their seeds make one cell, named by what sets it apart", async (t) => {
  const root = temporaryFolder(t);
  const folders: string[] = [];
  for (const [seed, epochs] of [
    [0, 3],
    [1, 3],
    [0, 10],
  ] as const) {
    const folder = join(root, `seed${seed}-epochs${epochs}`);
    await mkdir(folder);
    const config = {
      model: "m",
      data: "d.csv",
      output: folder,
      epochs,
      seed,
      initSeed: seed,
      orderSeed: seed,
      optimizer: { eps: 1 },
    };
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    writeFileSync(join(folder, "result.json"), JSON.stringify(syntheticResult(0.7, { seed })));
    folders.push(folder);
  }
  const { summaries } = await writeReport(folders, join(root, "report"));
  t.deepEqual(
    summaries.map(({ recipe, runs }) => [recipe, runs]),
    [
      ["epochs 3", 2],
      ["epochs 10", 1],
    ],
  );
});

test("a run that is named twice, also by another path, counts once", async (t) => {
  const root = temporaryFolder(t);
  const folders = [0, 1].map((seed) => {
    const folder = join(root, `run${seed}`);
    mkdirSync(folder);
    const seeds = { seed, initSeed: seed, orderSeed: seed };
    const config = { model: "m", data: "d.csv", output: folder, ...seeds, optimizer: {} };
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    writeFileSync(join(folder, "result.json"), JSON.stringify(syntheticResult(0.7, { seed })));
    return folder;
  });
  symlinkSync(folders[0]!, join(root, "link"));
  const named = [...folders, `${folders[1]}/`, join(root, "link")];
  const { summaries, path } = await writeReport(named, join(root, "report"));
  t.deepEqual(
    summaries.map(({ runs }) => runs),
    [2],
  );
  t.regex(readFileSync(path, "utf8"), /<h1>2 runs</);
});

test("single runs with and without an intermediate task are told apart by its name", async (t) => {
  const root = temporaryFolder(t);
  const base = { model: "m", data: "glue", task: "RTE", epochs: 3, seed: 0, initSeed: 0, orderSeed: 0, optimizer: {} };
  const folders = [{}, { transfer: { task: "MNLI", data: "glue", epochs: 3 } }].map((more, i) => {
    const folder = join(root, `run${i}`);
    mkdirSync(folder);
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...base, output: folder, ...more }));
    writeFileSync(join(folder, "result.json"), JSON.stringify(syntheticResult(0.7)));
    return folder;
  });
  const { summaries } = await writeReport(folders, join(root, "report"));
  t.deepEqual(
    summaries.map(({ recipe }) => recipe),
    ["no transfer", "transfer MNLI"],
  );
});

test("a folder that is neither a study nor a run is refused by name", async (t) => {
  const folder = temporaryFolder(t);
  await t.throwsAsync(writeReport([folder], folder), { instanceOf: ConfigError, message: new RegExp(folder) });
});

test("loss windows are equally long, cover every step and end with the run; a short rest joins the last", (t) => {
  const losses = Array.from({ length: 75 }, (_, i) => i);
  const windows = windowMeans(losses, 75);
  t.deepEqual(windows.slice(0, 2), [
    [3, 1],
    [6, 4],
  ]);
  t.is(windows.at(-1)?.[0], 75);
  t.is(windows.length, 25);
  t.deepEqual(windowMeans(losses.slice(0, 4), 75), [
    [3, 1],
    [6, 3],
  ]);
  const ones = Array.from({ length: 60 }, () => 1);
  t.deepEqual(windowMeans([...ones, 4], 61).slice(-2), [
    [57, 1],
    [61, 1.75],
  ]);
  t.deepEqual(windowMeans([5, 7], 2), [
    [1, 5],
    [2, 7],
  ]);
});

test("a band is mean and range over the runs that got that far, without values that are not finite", (t) => {
  const run = (loss: [number, number][]): ReportRun => ({
    ...{ id: "", seed: "", result: syntheticResult(0.7) },
    curves: { loss, validation: [], distances: {} },
  });
  const band = bandOf(
    [
      run([
        [1, 2],
        [2, 1],
      ]),
      run([[1, 4]]),
      run([[1, NaN]]),
    ],
    ({ curves }) => curves.loss,
  );
  t.deepEqual(band, [
    { step: 1, mean: 3, low: 2, high: 4 },
    { step: 2, mean: 1, low: 1, high: 1 },
  ]);
});

test("numbers are written as papers write them", (t) => {
  t.is(points(0.7231), "72.3");
  t.is(points(null), "–");
  t.is(pValue(0.0004), "< 0.001");
  t.is(pValue(0.0312), "0.031");
  t.is(metricName("f1"), "F1 (%)");
  t.deepEqual([12.4, 185, 7620].map(seconds), ["12 s", "3 min 05 s", "2 h 07 min"]);
});

test("ticks lie at 1, 2 or 5 times a power of ten", (t) => {
  t.deepEqual(
    [8, 30, 45, 160, 0.5].map((range) => tickStep(range, 8)),
    [1, 5, 10, 20, 0.1],
  );
});
