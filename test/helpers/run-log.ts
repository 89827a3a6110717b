import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The lines of a run's log without the times, which no two runs share. */
export function withoutTimes(folder: string): Record<string, unknown>[] {
  const lines = readFileSync(join(folder, "log.jsonl"), "utf8").trimEnd().split("\n");
  return lines.map((line) => {
    const { elapsedMs: _, ...event } = JSON.parse(line) as Record<string, unknown>;
    return event;
  });
}
