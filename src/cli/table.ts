import Table from "cli-table3";

/** Columns side by side without rules; the first column and those in `left` are left-aligned, numbers to the right. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left: readonly number[] = [0],
): string {
  const drawn = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (left.includes(column) ? "left" : "right")),
    style: { head: [], border: [], "padding-left": 0, "padding-right": 3 },
    chars: Object.fromEntries(ruleNames.map((name) => [name, ""])),
  });
  drawn.push(...rows.map((row) => [...row]));
  return drawn
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

const ruleNames = [
  ...["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left", "bottom-right"],
  ...["left", "left-mid", "mid", "mid-mid", "right", "right-mid", "middle"],
] as const;
