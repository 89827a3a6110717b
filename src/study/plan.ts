import { join, resolve } from "node:path";
import { resolveConfig } from "../config/resolve.js";
import { mergeConfigs } from "../config/merge.js";
import type { ResolvedConfig } from "../config/schema.js";
import { Fingerprints, runId, type Fingerprint } from "../training/fingerprint.js";
import { withAbsolutePaths } from "../training/transfer-run.js";
import type { Versions } from "../training/result.js";
import { codeVersions, numerics } from "../training/versions.js";
import type { Cell, Study } from "./file.js";
import { studyPaths } from "./folder.js";
import { refuseNoModel } from "./preset.js";
import { seedLabel } from "./seeds.js";

/** One run of one cell: a line of the manifest. */
export interface Trial {
  id: string;
  stage: string;
  task: string;
  recipe: string;
  /** "seed 3", or "init 1, order 2". */
  seed: string;
  fingerprint: Fingerprint & { numerics: number };
  /** The code and the libtorch that it was planned with; what ran stands in the result. */
  versions: Pick<Versions, "steadytune" | "torch">;
  config: ResolvedConfig;
}

/**
 * Where the config leaves the threads open they are fixed when it is planned, since bits depend on them. Many small runs
 * side by side finish sooner than one with all threads.
 */
export const threadsOfTrial = 1;

/**
 * Every trial that a study has from the start, in the order in which they run: seeds in the outer loop, so that all
 * cells of a stage fill up together and a study that is stopped half-way can already be compared. Cells that select
 * from an earlier stage have none yet (`extend.ts`). Data and weights are read and hashed.
 *
 * @param folder the study's folder
 * @throws ConfigError, DataError, CheckpointError or HubError, as the cause is
 */
export async function planTrials(study: Study, folder: string): Promise<{ trials: Trial[] }> {
  refuseNoModel(study);
  const fingerprints = new Fingerprints();
  const trials: Trial[] = [];
  for (const stage of new Set(study.cells.map((cell) => cell.stage))) {
    const cells = study.cells.filter((cell) => cell.stage === stage && cell.select === null);
    trials.push(...(await trialsOf(cells, folder, fingerprints)));
  }
  return { trials };
}

/** A trial per cell and seed, seeds in the outer loop. */
export async function trialsOf(
  cells: readonly Pick<Cell, "stage" | "task" | "recipe" | "config" | "seeds">[],
  folder: string,
  fingerprints: Fingerprints,
): Promise<Trial[]> {
  const versions = codeVersions();
  const trials: Trial[] = [];
  const most = Math.max(0, ...cells.map(({ seeds }) => seeds.length));
  for (let i = 0; i < most; i++) {
    for (const { stage, task, recipe, config: shared, seeds } of cells) {
      const own = seeds[i];
      if (own === undefined) continue;
      const config = withAbsolutePaths(
        resolveConfig(mergeConfigs({ keep: "none", ...shared }, { ...own, output: folder })),
      );
      const fingerprint = await fingerprints.of(config);
      const id = runId(config, fingerprint);
      trials.push({
        id,
        stage,
        task,
        recipe,
        seed: seedLabel(config),
        fingerprint: { ...fingerprint, numerics },
        versions,
        config: {
          ...config,
          threads: config.threads === 0 ? threadsOfTrial : config.threads,
          output: join(resolve(studyPaths(folder).trials), id),
          resume: true,
        },
      });
    }
  }
  return trials;
}
