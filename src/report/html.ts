import type { Figure } from "./chart.js";
import { count, meanStd, metricName, points, pValue, range, seconds, signedPoints } from "./format.js";
import { escaped, section, tableMarkup } from "./markup.js";
import { levelWithBest, overviewTable, type Entry } from "./overview-table.js";
import { precisionTable } from "./precision-table.js";
import {
  distinctRuns,
  groupBy,
  placeNames,
  scoreOn,
  testScore,
  type ReportCell,
  type ReportData,
} from "./report-data.js";
import type { CellSummary } from "./summary.js";

/** The whole report as one page that needs nothing else: styles and figures are inside, no script, no network. */
export function htmlPage(data: ReportData, summaries: readonly CellSummary[], figures: readonly Figure[]): string {
  const entries = data.cells.map((cell, i): Entry => ({ cell, summary: summaries[i]! }));
  const groups = groupBy(entries, ({ cell: { stage, task } }) => JSON.stringify([stage, task]));
  const placeName = placeNames(data.cells);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(data.title)}</title>
<style>${styles}</style>
</head>
<body>
<main>
<header>
<h1>${escaped(data.title)}</h1>
${data.description === null ? "" : `<p class="lead">${escaped(`${data.description} ${extentOf(data)}`)}</p>`}
<p class="facts">${factsOf(data)}</p>
${missingOf(data)}
</header>
${overviews(entries)}
${groups
  .map((group) => {
    const cells = group.map(({ cell }) => cell);
    const heading = groups.length === 1 ? "Results" : placeName(cells[0]!);
    return (
      tableOf(group, heading, [...choiceNotes(cells), ...transferNotes(cells)]) +
      comparisonOf(
        group.map(({ summary }) => summary),
        groups.length === 1 ? "" : `, ${heading}`,
      )
    );
  })
  .join("\n")}
${precisionTable(data.cells)}
${figures.map(figureOf).join("\n")}
${trialsOf(data)}
<footer>${footerOf(data)}</footer>
</main>
</body>
</html>
`;
}

/** Which cells take the config of the best of an earlier stage, and how good that is. */
function choiceNotes(cells: readonly ReportCell[]): string[] {
  return cells.flatMap(({ recipe, choice }) => {
    if (choice === null) return [];
    const chosen = choice.among.find((one) => one.recipe === choice.recipe);
    const score = chosen === undefined ? "" : `, ${points(chosen.mean)} over ${count(chosen.runs, "run")}`;
    return [
      `“${recipe}” takes the config of “${choice.recipe}”, which has the best mean validation score${score} among ${choice.among.length}.`,
    ];
  });
}

/** Which cells start from an intermediate task, and from how good a checkpoint of it. */
function transferNotes(cells: readonly ReportCell[]): string[] {
  return cells.flatMap(({ recipe, runs }) => {
    const origins = runs.flatMap(({ result }) => result.transfer ?? []);
    const different = [...new Map(origins.map((origin) => [origin.id, origin])).values()];
    return different.map(
      ({ task, step, metric, score }) =>
        `“${recipe}” starts from the intermediate task ${task}: its checkpoint of step ${step}, validation ${metricName(metric)} ${points(score)}.`,
    );
  });
}

/** Each stage in the layout of the paper's tables. */
function overviews(entries: readonly Entry[]): string {
  const stages = groupBy(entries, ({ cell }) => cell.stage);
  return stages
    .flatMap((stage) => {
      const name = stages.length === 1 ? "" : `, ${stage[0]!.cell.stage}`;
      return [
        overviewTable(stage, `All tasks${name}`, "test"),
        overviewTable(stage, `Validation scores${name}`, "validation"),
      ];
    })
    .join("\n");
}

/** One task. */
function tableOf(entries: readonly Entry[], heading: string, moreNotes: readonly string[]): string {
  const rows = entries.map(({ summary }) => summary);
  const [first] = rows;
  if (first === undefined) return "";
  const best = levelWithBest(entries);
  const disagree = rows.some(({ disagreement }) => disagreement !== null);
  const head = [
    ...["Recipe", "Runs", "Mean ± std", "95 % interval", "Median", "IQM", "Worst", "Best", "Degenerate", "Diverged"],
    ...(disagree ? ["Disagree"] : []),
  ];
  const body = rows.map((row) => {
    const ofRuns = (n: number): string => (n === 0 ? "0" : `${n} of ${row.runs}`);
    const [interval, average] = [range(row.meanLow, row.meanHigh), meanStd(row)];
    return [
      escaped(row.recipe),
      row.runs === row.planned ? String(row.runs) : `${row.runs} of ${row.planned}`,
      best.has(row) ? `<strong>${average}</strong>` : average,
      ...[interval, points(row.median), points(row.interQuartileMean), points(row.worst), points(row.best)],
      ...[ofRuns(row.degenerate), ofRuns(row.diverged)],
      ...(disagree ? [row.disagreement === null ? "–" : `${points(row.disagreement)} %`] : []),
    ];
  });
  const notes = [
    `Test ${metricName(first.metric)} of each run's validation-best checkpoint; ± is the sample standard deviation over runs.`,
    "Interval: of the mean, by 1000 bootstrap draws of the runs. IQM: mean of the middle half of the runs.",
    ...(best.size > 0
      ? ["Bold: the best mean, or not significantly below it (one-tailed Student's t-test at 5 %)."]
      : []),
    `Degenerate: no better than always predicting the majority class (${points(first.majority)}).`,
    ...(rows.some(({ scored, runs }) => scored < runs)
      ? ["Runs that diverged before their first evaluation have no score and are in no mean."]
      : []),
    ...(disagree ? ["Disagree: the share of test rows about which two runs say different classes."] : []),
    ...moreNotes,
  ];
  return section(heading, tableMarkup(head.map(escaped), body), notes);
}

/** Every recipe of a task against the first. */
function comparisonOf(rows: readonly CellSummary[], of: string): string {
  const [first, ...others] = rows;
  if (first === undefined || !others.some(({ difference }) => difference !== null)) return "";
  const paired = others.some(({ pPaired }) => pPaired !== null);
  const head = ["Recipe", "Difference", "p", "p (Holm)", "p (Welch)", ...(paired ? ["p (paired)"] : []), "Better run"];
  const body = others.map((row) => [
    escaped(row.recipe),
    signedPoints(row.difference),
    ...[row.pHigher, row.pHolm, row.pWelch].map(pValue).map(escaped),
    ...(paired ? [row.pPaired === null ? "–" : `${escaped(pValue(row.pPaired))} <small>(${row.pairs})</small>`] : []),
    row.probabilityOfImprovement === null ? "–" : `${(100 * row.probabilityOfImprovement).toFixed(0)} %`,
  ]);
  const notes = [
    `Difference: of the means, from “${first.recipe}”. p: one-tailed Student's t-test that the mean is higher, as in the`,
    "paper; with Holm's correction for the number of recipes here; without assuming equal variances (Welch);",
    ...(paired ? ["on the differences of runs that share a seed (in brackets how many);"] : []),
    `Better run: how likely a run of this recipe beats one of “${first.recipe}”, ties counting half.`,
  ];
  return section(`Compared with “${first.recipe}”${of}`, tableMarkup(head, body), notes);
}

function figureOf({ title, caption, svg }: Figure): string {
  return `<figure>
<div role="img" aria-label="${escaped(title)}">${svg}</div>
<figcaption>${escaped(caption)}</figcaption>
</figure>`;
}

function trialsOf({ cells }: ReportData): string {
  const placeName = placeNames(cells);
  const rows = cells.flatMap((cell) =>
    cell.runs.map((run) => {
      const { best, steps, degenerate, diverged, seconds: time } = run.result;
      const remark = diverged ? "diverged" : degenerate ? "degenerate" : "";
      const values = [
        ...[points(scoreOn("validation", run)), points(testScore(run))],
        ...[best === null ? "–" : `${best.step} of ${steps}`, seconds(time.total), remark, run.id],
      ];
      return `<tr><th scope="row">${escaped(cell.recipe)}</th><td>${escaped(placeName(cell))}</td><td>${escaped(run.seed)}</td>${values
        .map((value) => `<td>${escaped(value)}</td>`)
        .join("")}</tr>`;
    }),
  );
  const distinct = distinctRuns(cells).length;
  const head = ["Recipe", "Task", "Seed", "Validation", "Test", "Best step", "Time", "", "Folder"];
  return `<details>
<summary>All ${count(distinct, "run")}${rows.length > distinct ? ", in each of their cells" : ""}</summary>
<div class="wide"><table>
<thead><tr>${head.map((name) => `<th scope="col">${name}</th>`).join("")}</tr></thead>
<tbody>${rows.join("\n")}</tbody>
</table></div>
</details>`;
}

/** What there is of the study that the description is about: flags may have planned fewer tasks or other seeds. */
function extentOf({ cells }: ReportData): string {
  const tasks = [...new Set(cells.map(({ task }) => task))].join(", ");
  const planned = cells.map((cell) => cell.planned);
  const [fewest, most] = [Math.min(...planned), Math.max(...planned)];
  const runs = fewest === most ? count(most, "run") : `${fewest} to ${count(most, "run")}`;
  return `In this report: ${tasks}, with ${runs} of each recipe.`;
}

function factsOf({ cells }: ReportData): string {
  const rows = cells.find(({ runs }) => runs.length > 0)?.runs[0]?.result.rows;
  const runs = distinctRuns(cells);
  const total = runs.reduce((sum, { result }) => sum + result.seconds.total, 0);
  const tasks = new Set(cells.map(({ task }) => task)).size;
  const facts = [
    count(runs.length, "run"),
    ...(rows !== undefined && tasks === 1
      ? [`${rows.train} training, ${rows.validation} validation and ${rows.test} test rows`]
      : []),
    `${seconds(total)} of computing`,
  ];
  return facts.map(escaped).join(" · ");
}

/** As many failed runs are named. */
const mostNamed = 5;

/** What is in no table: runs that failed, and cells that wait for a choice; empty where there are none. */
function missingOf({ cells, failed, later }: ReportData): string {
  const placeName = placeNames([...cells, ...later]);
  const named = failed
    .slice(0, mostNamed)
    .map((run) => `“${run.recipe}” on ${placeName(run)}, ${run.seed} (${run.message.replace(/\.$/, "")})`);
  const more = failed.length > mostNamed ? [`and ${failed.length - mostNamed} more`] : [];
  const are = failed.length === 1 ? "is" : "are";
  const waiting = groupBy(later, ({ stage, recipe, from }) => JSON.stringify([stage, recipe, from])).map((same) => {
    const { recipe, from } = same[0]!;
    return `“${recipe}” on ${same.map(placeName).join(", ")} waits for the choice in stage “${from}”.`;
  });
  const said = [
    ...(failed.length === 0
      ? []
      : [`${count(failed.length, "run")} failed and ${are} not in these numbers: ${[...named, ...more].join("; ")}.`]),
    ...waiting,
  ];
  return said.length === 0 ? "" : `<p class="missing">${escaped(said.join(" "))}</p>`;
}

/** What ran, and a warning where not all runs ran on the same. */
function footerOf({ cells }: ReportData): string {
  const versions = cells.flatMap(({ runs }) => runs.map(({ result }) => result.versions));
  const said = new Set(
    versions.map(
      ({ steadytune, numerics, torch, device, dtype, instructionSet, threads }) =>
        `steadytune ${steadytune} (numerics ${numerics}), libtorch ${torch}, ${device} (${instructionSet}, ${count(threads, "thread")} a run), ${dtype}`,
    ),
  );
  const mixed = said.size > 1 ? `<strong>The runs did not all run on the same:</strong> ` : "";
  return mixed + [...said].map(escaped).join("; ");
}

const styles = `
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.5 Inter, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 32px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 12px; }
h2 { font-size: 20px; margin: 36px 0 12px; }
.lead { font-size: 18px; max-width: 75ch; margin: 0 0 8px; }
.facts, .note, figcaption, footer { color: #4d4d4d; font-size: 14.5px; }
.missing { border-left: 4px solid #b03a00; padding-left: 12px; max-width: 90ch; }
/* Shadows at the edges behind which a table goes on; the white ones move with it and hide them where it ends. */
.wide {
  overflow-x: auto;
  background:
    linear-gradient(to right, #fff 40%, #fff0) left / 48px 100% no-repeat local,
    linear-gradient(to left, #fff 40%, #fff0) right / 48px 100% no-repeat local,
    linear-gradient(to right, #0004, #0000) left / 16px 100% no-repeat,
    linear-gradient(to left, #0004, #0000) right / 16px 100% no-repeat;
}
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 8px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid #d9d9d9; }
thead th { border-bottom: 2px solid #1a1a1a; font-weight: 600; vertical-align: bottom; }
th:first-child { text-align: left; }
tbody th { font-weight: 500; white-space: normal; min-width: 7.5em; }
small, .metric, .published { font-size: 13px; color: #4d4d4d; font-weight: 400; }
.differs { color: #b03a00; font-weight: 700; }
figure { margin: 40px 0 0; break-inside: avoid; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { padding: 0 8px; margin-top: 4px; }
details { margin-top: 40px; }
summary { cursor: pointer; font-weight: 600; margin-bottom: 8px; }
details table { font-size: 14px; }
details th:nth-child(-n+3), details td:nth-child(-n+3) { text-align: left; }
footer { margin-top: 40px; border-top: 1px solid #d9d9d9; padding-top: 12px; }
@media print { main { max-width: none; padding: 0; } h1 { font-size: 24px; } }
`;
