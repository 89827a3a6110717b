import { rm } from "node:fs/promises";
import { basename, join } from "node:path";

import { ZipError } from "../../files/zip-directory.js";
import { download } from "./download.js";
import type { FetchContext } from "./fetch-context.js";
import { unpackAll } from "./unpack.js";
import { ZipArchive } from "./zip.js";

/** The CUDA version of the archive that matches the pinned libtorch's wheel. */
const cudaVariant = "cu132";

/** The archive that the PyTorch project publishes; `STEADYTUNE_LIBTORCH_URL` names a mirror's copy. */
export function archiveUrl({ version, cuda, env }: Pick<FetchContext, "version" | "cuda" | "env">): string {
  if (env.STEADYTUNE_LIBTORCH_URL) return env.STEADYTUNE_LIBTORCH_URL;
  const variant = cuda ? cudaVariant : "cpu";
  return `https://download.pytorch.org/libtorch/${variant}/libtorch-shared-with-deps-${version}%2B${variant}.zip`;
}

/** Downloads and unpacks the official archive. */
export async function fetchArchive(context: FetchContext): Promise<{ root: string; used: string[] }> {
  const url = archiveUrl(context);
  const archive = join(context.downloads, decodeURIComponent(basename(new URL(url).pathname)));
  context.report({ type: "note", text: `downloading ${url}` });
  await download(url, archive, context.report);
  try {
    await using zip = await ZipArchive.open(archive);
    await unpackAll(
      context,
      zip.entries
        .filter(({ name }) => isNeededOfArchive(name))
        .map((entry) => ({ entry, extract: (target, onBytes) => zip.extract(entry, target, onBytes) })),
    );
  } catch (error) {
    if (error instanceof ZipError) await rm(archive, { force: true });
    throw error;
  }
  return { root: "libtorch", used: [archive] };
}

function isNeededOfArchive(name: string): boolean {
  return (
    name === "libtorch/build-version" ||
    name.startsWith("libtorch/include/") ||
    /^libtorch\/lib\/[^/]+\.so(\.\d+)*$/.test(name)
  );
}
