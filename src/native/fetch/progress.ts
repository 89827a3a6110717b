/** What set-up shows while it works: bytes where a total may be known, or a line to read. */
export type FetchProgress =
  { type: "note"; text: string } | { type: "bytes"; what: string; done: number; total: number | null };

export type ReportProgress = (progress: FetchProgress) => void;
