import { closeSync, constants, fdatasyncSync, fstatSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { StateError } from "../errors.js";
import { asOutputError } from "../files/atomic.js";

/**
 * `log.jsonl`, one event a line. A line is in the file, for other processes to see, when `append` returns; `flush`
 * brings it to the disk. Written in place: a line takes microseconds, and after a kill nothing is in a queue.
 */
export class RunLog implements Disposable {
  readonly #path: string;
  readonly #file: number;
  #bytes: number;

  /**
   * @param keepBytes what an earlier life of the run wrote before its state was saved; anything behind is cut off.
   * @throws StateError when the file is shorter than that; OutputError when it cannot be written.
   */
  constructor(path: string, keepBytes: number) {
    this.#path = path;
    this.#file = this.#writing(() => openSync(path, constants.O_RDWR | constants.O_CREAT));
    const { size } = fstatSync(this.#file);
    if (size < keepBytes) {
      closeSync(this.#file);
      throw new StateError(`${path} has ${size} bytes, but ${keepBytes} were written when the state was saved`, {
        hint: "was the log edited? delete the run folder to start again",
      });
    }
    ftruncateSync(this.#file, keepBytes);
    this.#bytes = keepBytes;
  }

  append(event: object): void {
    const line = Buffer.from(`${JSON.stringify(event)}\n`);
    this.#writing(() => writeSync(this.#file, line, 0, line.length, this.#bytes));
    this.#bytes += line.length;
  }

  /** Brings all lines to the disk. @returns the length of the log in bytes. */
  flush(): number {
    this.#writing(() => fdatasyncSync(this.#file));
    return this.#bytes;
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #writing<T>(write: () => T): T {
    try {
      return write();
    } catch (error) {
      throw asOutputError(error, this.#path);
    }
  }
}
