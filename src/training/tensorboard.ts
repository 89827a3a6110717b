import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { asOutputError } from "../files/atomic.js";
import { crc32c } from "./crc32c.js";
import type { RunEvent } from "./events.js";

/** TensorBoard shows every file of this name below the folder that it is given; the seconds tell it which is newer. */
const prefix = "events.out.tfevents.";

/**
 * A run's scalars as an event file of TensorBoard, in the run's folder. It is written beside the log and from the same
 * events, so the file of a resumed run begins with what the log has kept.
 */
export class TensorboardLog implements Disposable {
  readonly #path: string;
  readonly #file: number;
  /** When the run would have begun had it never been interrupted, in ms since 1970. */
  readonly #begunMs: number;

  /**
   * Begins a new file in place of those of earlier lives of the run.
   *
   * @param log path of `log.jsonl` as far as it is kept
   * @param elapsedMs of the run so far
   * @throws OutputError when it cannot be written
   */
  constructor(folder: string, { log, elapsedMs }: { log: string; elapsedMs: number }) {
    const nowMs = Date.now();
    removeEventFiles(folder);
    this.#begunMs = nowMs - elapsedMs;
    this.#path = join(folder, `${prefix}${Math.floor(nowMs / 1000)}.steadytune`);
    this.#file = this.#writing(() => openSync(this.#path, "w"));
    this.#write(fileVersion(nowMs / 1000));
    for (const line of readFileSync(log, "utf8").split("\n")) {
      if (line !== "") this.append(JSON.parse(line) as RunEvent);
    }
  }

  /** Events without a number that changes with the steps are left out. */
  append(event: RunEvent): void {
    const scalars = scalarsOf(event);
    if (scalars === null) return;
    const seconds = (this.#begunMs + scalars.elapsedMs) / 1000;
    this.#write(summaryEvent(seconds, scalars.step, scalars.values));
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #write(event: Buffer): void {
    const record = framed(event);
    this.#writing(() => writeSync(this.#file, record));
  }

  #writing<T>(write: () => T): T {
    try {
      return write();
    } catch (error) {
      throw asOutputError(error, this.#path);
    }
  }
}

/** Takes away the event files of a run that begins anew. */
export function removeEventFiles(folder: string): void {
  for (const name of readdirSync(folder)) if (name.startsWith(prefix)) rmSync(join(folder, name), { force: true });
}

interface Scalars {
  step: number;
  elapsedMs: number;
  values: Record<string, number>;
}

function scalarsOf(event: RunEvent): Scalars | null {
  switch (event.type) {
    case "step": {
      const { step, elapsedMs, loss, gradNorm, learningRate } = event;
      return { step, elapsedMs, values: { "train/loss": loss, "train/grad_norm": gradNorm, "train/lr": learningRate } };
    }
    case "diagnostics": {
      const { step, elapsedMs, distances, biasRatio, clippedShare } = event;
      const train = { "train/bias_ratio": biasRatio, "train/clipped_share": clippedShare };
      return { step, elapsedMs, values: { ...train, ...under("distance", distances) } };
    }
    case "evaluation":
      return { step: event.step, elapsedMs: event.elapsedMs, values: under("validation", event.validation) };
    case "end": {
      const { best, seconds } = event.result;
      return best && { step: best.step, elapsedMs: 1000 * seconds.total, values: under("test", best.test) };
    }
    default:
      return null;
  }
}

/** TensorBoard groups what has the same word before the slash. */
function under(group: string, values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${group}/${name}`, value]));
}

/** A TFRecord: length and content, each with its masked checksum behind it. */
function framed(content: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(content.length));
  return Buffer.concat([length, checksum(length), content, checksum(content)]);
}

function checksum(bytes: Buffer): Buffer {
  const crc = crc32c(bytes);
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  const written = Buffer.alloc(4);
  written.writeUInt32LE(masked);
  return written;
}

// The protocol buffer tensorflow.Event: wall_time = 1, step = 2, file_version = 3, summary = 5; its Summary holds values
// (1) of tag (1) and simple_value (2).

function fileVersion(seconds: number): Buffer {
  return Buffer.concat([double(1, seconds), bytes(3, Buffer.from("brain.Event:2"))]);
}

function summaryEvent(seconds: number, step: number, values: Record<string, number>): Buffer {
  const summary = Object.entries(values).map(([tag, value]) =>
    bytes(1, Buffer.concat([bytes(1, Buffer.from(tag)), float(2, value)])),
  );
  return Buffer.concat([double(1, seconds), Buffer.of(2 << 3), varint(step), bytes(5, Buffer.concat(summary))]);
}

function double(field: number, value: number): Buffer {
  const written = Buffer.alloc(9);
  written[0] = (field << 3) | 1;
  written.writeDoubleLE(value, 1);
  return written;
}

function float(field: number, value: number): Buffer {
  const written = Buffer.alloc(5);
  written[0] = (field << 3) | 5;
  written.writeFloatLE(value, 1);
  return written;
}

function bytes(field: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.of((field << 3) | 2), varint(content.length), content]);
}

/** Seven bits a byte, the lowest first; every byte but the last has its top bit set. */
function varint(value: number): Buffer {
  const written: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) written.push((rest % 0x80) | 0x80);
  return Buffer.from([...written, rest]);
}
