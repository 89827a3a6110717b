import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/** Where steadytune keeps what it fetched: `STEADYTUNE_CACHE`, else the user's cache folder as XDG defines it. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.STEADYTUNE_CACHE) return env.STEADYTUNE_CACHE;
  // The XDG specification tells programs to ignore a relative path.
  if (env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME)) return join(env.XDG_CACHE_HOME, "steadytune");
  return join(env.HOME || homedir(), ".cache", "steadytune");
}
