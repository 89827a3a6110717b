/** @param {string[][]} lines the header first; the first `left` columns are text, the others numbers */
export function markdownTable(lines, left) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((cells) => cells[column].length)));
  const row = (cells) =>
    `| ${cells.map((cell, i) => (i < left ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(" | ")} |`;
  const rule = widths.map((width, i) => (i < left ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [row(lines[0]), row(rule), ...lines.slice(1).map(row)].join("\n");
}
