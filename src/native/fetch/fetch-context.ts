import type { ReportProgress } from "./progress.js";

/** What a source gets to work with. */
export interface FetchContext {
  version: string;
  cuda: boolean;
  env: NodeJS.ProcessEnv;
  report: ReportProgress;
  /** Kept between calls: whole wheels and partial downloads. */
  downloads: string;
  /** The source puts the unpacked libtorch here; it becomes the cache entry. */
  target: string;
  /** Throws OutputError when the disk has not `bytes` left. */
  needSpace: (bytes: number, what: string) => Promise<void>;
}
