import { basename } from "node:path";

import { ZipError, type ZipEntry } from "../../files/zip-directory.js";
import { ZipArchive } from "./zip.js";

/** A Python wheel on disk: a ZIP archive with its metadata and a list of checksums. */
export interface Wheel {
  archive: ZipArchive;
  /** Requirements in PEP 508 form, as METADATA lists them. */
  requirements: string[];
  /** SHA-256 in base64url by file name, from RECORD. */
  checksums: Map<string, string>;
}

export async function openWheel(path: string): Promise<Wheel> {
  const archive = await ZipArchive.open(path);
  try {
    return {
      archive,
      requirements: parseRequirements(await readMeta(archive, "METADATA")),
      checksums: parseRecord(await readMeta(archive, "RECORD")),
    };
  } catch (error) {
    await archive.close();
    throw error;
  }
}

async function readMeta(archive: ZipArchive, name: string): Promise<string> {
  const entry = archive.entries.find((candidate) => /^[^/]+\.dist-info\/(\w+)$/.exec(candidate.name)?.[1] === name);
  if (entry === undefined) throw new ZipError(`${archive.path} is no wheel: it holds no ${name}`);
  return (await archive.read(entry)).toString("utf8");
}

function parseRequirements(metadata: string): string[] {
  const header = metadata.split(/\r?\n\r?\n/, 1)[0] ?? "";
  return [...header.matchAll(/^Requires-Dist: *(.+?)\r?$/gm)].map((match) => match[1] ?? "");
}

/** RECORD is CSV: name, "sha256=" and the digest, size; only names with a comma are quoted. */
function parseRecord(record: string): Map<string, string> {
  const checksums = new Map<string, string>();
  for (const match of record.matchAll(/^(?:"((?:[^"]|"")*)"|([^,\n]*)),sha256=([\w-]+),/gm)) {
    const name = match[1]?.replaceAll('""', '"') ?? match[2];
    if (name !== undefined && match[3] !== undefined) checksums.set(name, match[3]);
  }
  return checksums;
}

/** Unpacks one entry of a wheel into `folder`, checked against RECORD. */
export async function unpackFromWheel(
  { archive, checksums }: Wheel,
  entry: ZipEntry,
  folder: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const digest = await archive.extract(entry, folder, onBytes);
  if (digest === checksums.get(entry.name)) return;
  throw new ZipError(`${basename(archive.path)} is damaged: ${entry.name} does not match its SHA-256 in RECORD`);
}
