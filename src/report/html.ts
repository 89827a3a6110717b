import type { Figure } from "./chart.js";
import { count, meanStd, metricName, points, pValue, seconds } from "./format.js";
import { testScore, type ReportCell, type ReportData } from "./report-data.js";
import type { CellSummary } from "./summary.js";

/** The whole report as one page that needs nothing else: styles and figures are inside, no script, no network. */
export function htmlPage(data: ReportData, summaries: readonly CellSummary[], figures: readonly Figure[]): string {
  const groups = [...new Set(summaries.map(({ stage, task }) => JSON.stringify([stage, task])))];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text(data.title)}</title>
<style>${styles}</style>
</head>
<body>
<main>
<header>
<h1>${text(data.title)}</h1>
${data.description === null ? "" : `<p class="lead">${text(data.description)}</p>`}
<p class="facts">${factsOf(data, summaries)}</p>
</header>
${groups
  .map((key) => {
    const [stage, task] = JSON.parse(key) as [string, string];
    const rows = summaries.filter((row) => row.stage === stage && row.task === task);
    const cells = data.cells.filter((cell) => cell.stage === stage && cell.task === task);
    return tableOf(rows, groups.length === 1 ? "Results" : `${stage}: ${task}`, transferNotes(cells));
  })
  .join("\n")}
${figures.map(figureOf).join("\n")}
${trialsOf(data)}
<footer>${footerOf(data)}</footer>
</main>
</body>
</html>
`;
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

function tableOf(rows: readonly CellSummary[], heading: string, moreNotes: readonly string[]): string {
  const [first] = rows;
  if (first === undefined) return "";
  const bestMean = Math.max(...rows.map(({ mean }) => mean ?? -Infinity));
  const compared = rows.some(({ pHigher }) => pHigher !== null);
  const head = [
    ...["Recipe", "Runs", "Mean ± std", "Median", "Worst", "Best", "Degenerate", "Diverged"],
    ...(compared ? ["p"] : []),
  ];
  const body = rows.map((row) => {
    const runs = row.runs === row.planned ? String(row.runs) : `${row.runs} of ${row.planned}`;
    const cells = [
      `<th scope="row">${text(row.recipe)}</th>`,
      ...[runs, meanStd(row), points(row.median), points(row.worst), points(row.best)].map((value, i) =>
        i === 1 && row.mean === bestMean ? `<td class="best">${value}</td>` : `<td>${value}</td>`,
      ),
      `<td>${row.degenerate} of ${row.runs}</td>`,
      `<td>${row.diverged} of ${row.runs}</td>`,
      ...(compared ? [`<td>${pValue(row.pHigher)}</td>`] : []),
    ];
    return `<tr>${cells.join("")}</tr>`;
  });
  const notes = [
    `Test ${metricName(first.metric)} of each run's validation-best checkpoint; ± is the sample standard deviation over runs.`,
    `Degenerate: no better than always predicting the majority class (${points(first.majority)}).`,
    ...(compared
      ? [`p: one-tailed Student's t-test that the mean is higher than that of “${first.recipe}”, as in the paper.`]
      : []),
    ...moreNotes,
  ];
  return `<section>
<h2>${text(heading)}</h2>
<div class="wide"><table>
<thead><tr>${head.map((name) => `<th scope="col">${text(name)}</th>`).join("")}</tr></thead>
<tbody>${body.join("\n")}</tbody>
</table></div>
<p class="note">${notes.map(text).join(" ")}</p>
</section>`;
}

function figureOf({ title, caption, svg }: Figure): string {
  return `<figure>
<div role="img" aria-label="${text(title)}">${svg}</div>
<figcaption>${text(caption)}</figcaption>
</figure>`;
}

function trialsOf({ cells }: ReportData): string {
  const rows = cells.flatMap(({ task, recipe, runs }) =>
    runs.map((run) => {
      const { metric, best, steps, degenerate, diverged, seconds: time } = run.result;
      const remark = diverged ? "diverged" : degenerate ? "degenerate" : "";
      const values = [
        ...[points(best?.validation[metric] ?? null), points(testScore(run))],
        ...[best === null ? "–" : `${best.step} of ${steps}`, seconds(time.total), remark, run.id],
      ];
      return `<tr><th scope="row">${text(recipe)}</th><td>${text(task)}</td><td>${text(run.seed)}</td>${values
        .map((value) => `<td>${text(value)}</td>`)
        .join("")}</tr>`;
    }),
  );
  const head = ["Recipe", "Task", "Seed", "Validation", "Test", "Best step", "Time", "", "Folder"];
  return `<details>
<summary>All ${count(rows.length, "run")}</summary>
<div class="wide"><table>
<thead><tr>${head.map((name) => `<th scope="col">${name}</th>`).join("")}</tr></thead>
<tbody>${rows.join("\n")}</tbody>
</table></div>
</details>`;
}

function factsOf({ cells }: ReportData, summaries: readonly CellSummary[]): string {
  const rows = cells.find(({ runs }) => runs.length > 0)?.runs[0]?.result.rows;
  const total = summaries.reduce((sum, row) => sum + row.seconds, 0);
  const runs = summaries.reduce((sum, row) => sum + row.runs, 0);
  const tasks = new Set(summaries.map(({ task }) => task)).size;
  const facts = [
    count(runs, "run"),
    ...(rows !== undefined && tasks === 1
      ? [`${rows.train} training, ${rows.validation} validation and ${rows.test} test rows`]
      : []),
    `${seconds(total)} of computing`,
  ];
  return facts.map(text).join(" · ");
}

/** What ran, and a warning where not all runs ran on the same. */
function footerOf({ cells }: ReportData): string {
  const versions = cells.flatMap(({ runs }) => runs.map(({ result }) => result.versions));
  const said = new Set(
    versions.map(
      ({ steadytune, torch, device, dtype, instructionSet, threads }) =>
        `steadytune ${steadytune}, libtorch ${torch}, ${device} (${instructionSet}, ${count(threads, "thread")} a run), ${dtype}`,
    ),
  );
  const mixed = said.size > 1 ? `<strong>The runs did not all run on the same:</strong> ` : "";
  return mixed + [...said].map(text).join("; ");
}

function text(value: string): string {
  return value.replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`);
}

const styles = `
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.5 Inter, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 32px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 12px; }
h2 { font-size: 20px; margin: 36px 0 12px; }
.lead { font-size: 18px; max-width: 75ch; margin: 0 0 8px; }
.facts, .note, figcaption, footer { color: #4d4d4d; font-size: 14.5px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 8px 12px; text-align: right; white-space: nowrap; border-bottom: 1px solid #d9d9d9; }
thead th { border-bottom: 2px solid #1a1a1a; font-weight: 600; vertical-align: bottom; }
th:first-child { text-align: left; }
tbody th { font-weight: 500; white-space: normal; }
td.best { font-weight: 700; }
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
