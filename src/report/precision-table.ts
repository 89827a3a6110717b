import { configHash } from "../training/identity.js";
import { cellConfig } from "./config-groups.js";
import { pValue, points } from "./format.js";
import { escaped, section, tableMarkup } from "./markup.js";
import { groupBy, placeNames, scoresOf, type Half, type ReportCell } from "./report-data.js";
import { pDifferent } from "./summary.js";
import { mean, std } from "../stats/summary.js";

const names = { bfloat16: "mixed (bfloat16)", float32: "full (float32)" } as const;

/** Cells that differ in nothing but their number format, beside each other (paper, Table 4); empty where there are none. */
export function precisionTable(cells: readonly ReportCell[]): string {
  const known = cells.filter(({ config, runs }) => config !== null && runs.length > 0);
  const key = ({ stage, task, config }: ReportCell): string =>
    JSON.stringify([stage, task, configHash(cellConfig(config!, ["dtype"]))]);
  const pairs = groupBy(known, key).flatMap((group) => {
    const mixed = group.find(({ config }) => config?.dtype === "bfloat16");
    const full = group.find(({ config }) => config?.dtype === "float32");
    return mixed && full ? [{ mixed, full }] : [];
  });
  if (pairs.length === 0) return "";
  const placeName = placeNames(cells);
  const rows = pairs.flatMap(({ mixed, full }) =>
    (["validation", "test"] as const).map((half) => [
      `${escaped(placeName(full))}, ${half}`,
      meanStdOf(mixed, half),
      meanStdOf(full, half),
      pValue(pDifferent(mixed, full, half)),
    ]),
  );
  return section("Mixed and full precision", tableMarkup(["Scores", names.bfloat16, names.float32, "p"], rows), [
    "Mean ± sample standard deviation over runs, times 100. p: two-tailed Student's t-test that the means differ.",
  ]);
}

function meanStdOf(cell: ReportCell, half: Half): string {
  const scores = scoresOf(cell, half);
  if (scores.length === 0) return "–";
  return scores.length < 2 ? points(mean(scores)) : `${points(mean(scores))} ± ${points(std(scores))}`;
}
