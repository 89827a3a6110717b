import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { parse } from "csv-parse/sync";
import { ConfigError } from "#src/errors.js";
import { bandOf } from "#src/report/band-chart.js";
import { tickStep } from "#src/report/chart.js";
import { metricName, pValue, points, seconds } from "#src/report/format.js";
import { windowMeans } from "#src/report/read-curves.js";
import { readStudy } from "#src/report/read-study.js";
import type { ReportRun } from "#src/report/report-data.js";
import { summarize } from "#src/report/summary.js";
import { writeReport } from "#src/report/write-report.js";
import { syntheticResult, writeSyntheticStudy, type SyntheticCell } from "../helpers/synthetic-study.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const biased: SyntheticCell = { recipe: "biased", scores: [0.5, 0.7, 0.6] };
const debiased: SyntheticCell = { recipe: "debiased", scores: [0.8, 0.82, 0.81], steps: 120 };

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
  t.is(html.match(/<svg/g)?.length, 3);
  t.notRegex(html, /<script|<link|<img|url\(http|@import|src=/);
  const addresses = [...html.matchAll(/https?:\/\/[^"'\s)<]+/g)].map(([address]) => address);
  t.deepEqual(
    [...new Set(addresses)].filter((address) => !address.startsWith("http://www.w3.org/")),
    [],
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

test("a thousand runs make a page below 3 MB", async (t) => {
  const scores = Array.from({ length: 250 }, (_, i) => 0.5 + (i % 97) / 250);
  const folder = await study(
    t,
    ["a", "b", "c", "d"].map((recipe) => ({ recipe, scores, steps: 100 })),
  );
  const { path } = await writeReport([folder], folder);
  t.true(readFileSync(path).length < 3e6);
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

test("single runs with and without an intermediate task are told apart by its name", async (t) => {
  const root = temporaryFolder(t);
  const base = { model: "m", data: "glue", task: "RTE", epochs: 3, seed: 0, initSeed: 0, orderSeed: 0 };
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
    curves: { loss, validation: [] },
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
