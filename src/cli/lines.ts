import type { Readable } from "node:stream";
import { DataError } from "../errors.js";

/**
 * The lines of a UTF-8 stream, without their line ends (LF or CR LF). Only LF ends a line: readline would also cut at
 * U+2028 and U+2029, which JSON allows inside strings.
 *
 * @param source named in errors, such as "standard input"
 * @throws DataError when a line is not UTF-8
 */
export async function* readLines(stream: Readable, source: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  let number = 0;
  const decode = (chunk?: Buffer): string => {
    try {
      return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch (cause) {
      throw new DataError(`${source} is not valid UTF-8, after line ${number}`, { cause });
    }
  };
  for await (const chunk of stream) {
    const lines = (rest + decode(chunk as Buffer)).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      number += 1;
      yield line.endsWith("\r") ? line.slice(0, -1) : line;
    }
  }
  rest += decode();
  if (rest !== "") yield rest;
}
