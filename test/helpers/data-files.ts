import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { ExecutionContext } from "ava";

/** A temporary folder with these files (paths may name folders), removed after the test. */
export async function dataFolder(t: ExecutionContext, files: Record<string, string | Uint8Array>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "steadytune-data-"));
  t.teardown(() => rm(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}

/** A temporary folder with this one file; the path of the file. */
export async function dataFile(t: ExecutionContext, name: string, content: string | Uint8Array): Promise<string> {
  return join(await dataFolder(t, { [name]: content }), name);
}

/**
 * A file or folder of the data that cannot be in the repository, such as "glue/RTE/dev.tsv": looked for in
 * STEADYTUNE_DATA, then in ../shared/data. Null, with the reason in the log and the test passed, when it is not there.
 */
export function outsideData(t: ExecutionContext, path: string): string | null {
  const roots = [process.env["STEADYTUNE_DATA"], "../shared/data"].filter((root) => root !== undefined);
  const found = roots.map((root) => resolve(root, path)).find((candidate) => existsSync(candidate));
  if (found !== undefined) return found;
  t.log(`skipped: no ${path} in ${roots.map((root) => resolve(root)).join(" or ")} (set STEADYTUNE_DATA)`);
  t.pass();
  return null;
}
