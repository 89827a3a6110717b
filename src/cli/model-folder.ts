import { resolveModel } from "../models/resolve.js";
import { bar, bytes } from "./format.js";
import type { Terminal } from "./terminal.js";

/** The local folder of a model that is given as a folder or as a hub id, which is fetched where it is not cached. */
export async function modelFolder(model: string, terminal: Terminal): Promise<string> {
  const { folder, notes } = await resolveModel(model, {
    onProgress: ({ file, bytes: done, totalBytes }) =>
      terminal.status(`${bar(done / totalBytes, 20)} fetching ${file}  ${bytes(done)} of ${bytes(totalBytes)}`),
  });
  terminal.clear();
  for (const note of notes) terminal.line(note);
  return folder;
}
