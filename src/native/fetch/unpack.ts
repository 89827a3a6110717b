import type { ZipEntry } from "../../files/zip-directory.js";
import type { FetchContext } from "./fetch-context.js";

/** Files under way at once: unpacking ten thousand headers one by one waits mostly for the file system. */
const concurrency = 8;

/** Unpacks entries of one or several archives into the context's target, with progress over all of them. */
export async function unpackAll(
  context: FetchContext,
  work: { entry: ZipEntry; extract: (folder: string, onBytes: (bytes: number) => void) => Promise<unknown> }[],
): Promise<void> {
  const total = work.reduce((sum, { entry }) => sum + entry.size, 0);
  await context.needSpace(total, "to unpack libtorch");
  let done = 0;
  let failed = false;
  const queue = work.values();
  const unpackNext = async (): Promise<void> => {
    for (const { extract } of queue) {
      if (failed) return;
      await extract(context.target, (bytes) => {
        done += bytes;
        context.report({ type: "bytes", what: "unpacking libtorch", done, total });
      });
    }
  };
  const workers = Array.from({ length: concurrency }, () =>
    unpackNext().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  // All have to stop before the caller may remove the folder.
  const outcomes = await Promise.allSettled(workers);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
