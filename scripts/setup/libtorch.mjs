import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { root } from "./run.mjs";
import { note, say, showBytes, since } from "./terminal.mjs";

/** Finds libtorch, or fetches it into the cache; `fetched` is false where it stood already. */
export async function provideLibtorch() {
  const { cacheEntry, findLibtorch, pinnedTorch } = await compiled("native/libtorch.js");
  const { hasNvidiaGpu } = await compiled("native/platform.js");
  const { chosen, candidates, error } = findLibtorch();
  if (error !== null) throw error;
  // Some indexes have CPU builds alone: what was fetched for a GPU is not fetched again, whatever came.
  const forGpu = cacheEntry(pinnedTorch, true);
  const lacksGpu = chosen?.source === "cache" && !chosen.root.startsWith(forGpu) && hasNvidiaGpu();
  if (chosen !== null && !lacksGpu) return { libtorch: chosen, fetched: false };

  const start = performance.now();
  for (const { source, path, outcome } of candidates.slice(0, 3))
    note(`${source}: ${path === "" ? "" : `${path} `}${outcome}`);
  if (lacksGpu) note("the one in the cache was fetched without CUDA, and this machine has a GPU");
  note(`fetching libtorch ${pinnedTorch}`);
  const { fetchLibtorch } = await compiled("native/fetch/fetch-libtorch.js");
  const libtorch = await fetchLibtorch({
    report: (progress) => (progress.type === "note" ? note(progress.text) : showBytes(progress)),
  });
  say("libtorch", `${libtorch.version} fetched in ${since(start)} to ${libtorch.root}`);
  return { libtorch, fetched: true };
}

/** A module of dist/, which set-up itself may just have compiled. */
export function compiled(path) {
  return import(pathToFileURL(join(root, "dist", path)).href);
}
