import { createWriteStream } from "node:fs";
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { Readable, Transform, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";

import { setupCommand } from "../package-root.js";
import { formatBytes } from "./bytes.js";
import type { ReportProgress } from "./progress.js";
import { isDiskError, SourceFailure } from "./source-failure.js";

/** Kept beside a partial download: it goes on only from the same file of the same server. */
interface Partial {
  url: string;
  validator: string;
}

const attempts = 4;

/**
 * Downloads `url` to `target`. A partial file (`target.part`) of an earlier call is continued with a Range request when
 * the server's ETag or date is still the same; broken connections are tried again while bytes arrive.
 */
export async function download(url: string, target: string, report: ReportProgress): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const before = await sizeOf(`${target}.part`);
    try {
      await downloadOnce(url, target, report);
      return;
    } catch (error) {
      if (error instanceof SourceFailure || isDiskError(error)) throw error;
      const after = await sizeOf(`${target}.part`);
      if (attempt < attempts && after > before) continue;
      throw failure(url, after, error);
    }
  }
}

async function downloadOnce(url: string, target: string, report: ReportProgress): Promise<void> {
  const part = `${target}.part`;
  const note = `${target}.part.json`;
  const partial = await readPartial(note);
  const have = partial?.url === url ? await sizeOf(part) : 0;
  const headers: Record<string, string> =
    have > 0 && partial ? { Range: `bytes=${have}-`, "If-Range": partial.validator } : {};
  const response = await fetch(url, { headers });
  const resumed =
    response.status === 206 && response.headers.get("content-range")?.startsWith(`bytes ${have}-`) === true;
  if (!resumed && response.status !== 200) {
    await response.body?.cancel();
    // 416: the partial file is longer than what the server has now.
    if (response.status === 416) await rm(part, { force: true });
    throw new SourceFailure(
      `${url} answers ${response.status} ${response.statusText}`.trim(),
      `Look for the archive of your version at the address, download it, unpack it and set LIBTORCH to it.`,
    );
  }
  if (response.body === null) throw new Error("the answer has no body");

  const start = resumed ? have : 0;
  const length = response.headers.get("content-length");
  const total = length === null ? null : start + Number(length);
  // Weak validators ("W/...") do not promise equal bytes.
  const etag = response.headers.get("etag");
  const validator = etag !== null && !etag.startsWith("W/") ? etag : response.headers.get("last-modified");
  if (validator !== null) await writeFile(note, JSON.stringify({ url, validator } satisfies Partial));
  else await rm(note, { force: true });

  let done = start;
  const count = new Transform({
    transform(chunk: Buffer, _encoding: BufferEncoding, next: TransformCallback): void {
      done += chunk.length;
      report({ type: "bytes", what: basename(target), done, total });
      next(null, chunk);
    },
  });
  await pipeline(Readable.fromWeb(response.body), count, createWriteStream(part, { flags: resumed ? "a" : "w" }));
  if (total !== null && done !== total) throw new Error(`${done} of ${total} bytes arrived`);
  await rename(part, target);
  await rm(note, { force: true });
}

async function readPartial(note: string): Promise<Partial | null> {
  try {
    return JSON.parse(await readFile(note, "utf8")) as Partial;
  } catch {
    // None, or torn: then the download begins anew.
    return null;
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}

function failure(url: string, received: number, error: unknown): SourceFailure {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (received > 0) {
    return new SourceFailure(
      `the download of ${url} was cut off after ${formatBytes(received)} (${reason})`,
      `Run it again: \`${setupCommand}\` goes on where it stopped.`,
      error,
    );
  }
  return new SourceFailure(
    `${url} cannot be reached (${reason})`,
    `Check the network; behind a proxy, download the archive by other means, unpack it and set LIBTORCH to it.`,
    error,
  );
}
