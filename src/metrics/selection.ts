import type { MetricName, TaskInfo } from "../data/task.js";
import { ConfigError } from "../errors.js";
import { metricNames } from "./metrics.js";

/**
 * The metric that chooses the best checkpoint: `selectBy`, else the one that the task is reported in (paper, Table 3).
 * The paper's released code chooses by accuracy wherever it computes one, and so for the tasks reported in F1, too.
 *
 * @throws ConfigError when `selectBy` does not exist for the task's problem
 */
export function selectionMetric(
  task: Pick<TaskInfo, "name" | "problem" | "metric">,
  { selectBy, protocol }: { selectBy?: string | null | undefined; protocol: "paper" | "released" },
): MetricName {
  if (selectBy !== undefined && selectBy !== null) {
    const names = metricNames(task.problem);
    const metric = names.find((name) => name === selectBy);
    if (metric !== undefined) return metric;
    throw new ConfigError(`selectBy: ${task.name} is a ${task.problem} task and has no ${selectBy}`, {
      hint: `Its metrics are ${names.join(", ")}.`,
    });
  }
  return protocol === "released" && task.metric === "f1" ? "accuracy" : task.metric;
}
