import { stderr } from "node:process";

/** Off a terminal a line of progress every few seconds is enough. */
const quietIntervalMs = 5000;

let drawn = false;
let last = { what: "", atMs: 0, done: 0, startMs: 0, startDone: 0 };

/** One finished step: "libtorch      2.15.0, cache, /home/me/.cache/...". */
export function say(step, text) {
  clear();
  stderr.write(`  ${step.padEnd(14)}${text}\n`);
}

/** A line of its own, for what a step is about to do. */
export function note(text) {
  clear();
  stderr.write(`  ${" ".repeat(14)}${text}\n`);
}

/** "torch-2.15.0.whl  312.4 of 539.1 MB, 51.2 MB/s", drawn over itself on a terminal. */
export function showBytes({ what, done, total }) {
  const now = performance.now();
  if (what !== last.what) last = { what, atMs: -Infinity, done, startMs: now, startDone: done };
  const finished = done === total && last.done !== total;
  if (now - last.atMs < (stderr.isTTY ? 100 : quietIntervalMs) && !finished) return;
  const seconds = (now - last.startMs) / 1000;
  const rate = seconds > 0.2 ? `, ${megabytes((done - last.startDone) / seconds)} MB/s` : "";
  const line = `${what}  ${megabytes(done)}${total === null ? "" : ` of ${megabytes(total)}`} MB${rate}`;
  last = { ...last, atMs: now, done };
  if (stderr.isTTY) {
    stderr.write(`\r\x1b[2K  ${" ".repeat(14)}${line}`.slice(0, (stderr.columns || 80) + 4));
    drawn = true;
  } else {
    note(line);
  }
}

export function printError(error) {
  clear();
  stderr.write(`error: ${error.message}\n`);
  if (error.hint) stderr.write(`hint: ${error.hint.split("\n").join("\n      ")}\n`);
}

/** "4.2 s" since a performance.now(). */
export function since(startMs) {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}

function clear() {
  if (drawn) stderr.write("\r\x1b[2K");
  drawn = false;
}
