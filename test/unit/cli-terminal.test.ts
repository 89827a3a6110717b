import { Writable } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import test from "ava";
import { openTerminal } from "#src/cli/terminal.js";

/** A stream that says it is a terminal, or not, and keeps what is written to it. */
function fakeStream(
  isTTY: boolean,
  size = { columns: 80, rows: 24 },
): { stream: NodeJS.WriteStream; written: () => string } {
  let text = "";
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  return {
    stream: Object.assign(stream, { isTTY, ...size }) as unknown as NodeJS.WriteStream,
    written: () => text,
  };
}

test("off a terminal there are lines and no status", async (t) => {
  const { stream, written } = fakeStream(false);
  const terminal = await openTerminal({ stream, env: {} });
  terminal.line("one");
  terminal.status("working");
  terminal.warn("two");
  terminal.clear();
  t.is(written(), "one\nwarning: two\n");
  t.false(terminal.live);
});

test("on a terminal the status stays below the lines and goes away at the end", async (t) => {
  const { stream, written } = fakeStream(true);
  const terminal = await openTerminal({ stream, env: {} });
  t.true(terminal.live);
  terminal.status("working");
  terminal.line("one");
  t.deepEqual(stripVTControlCharacters(written()).trimEnd().split("\n"), ["working", "one", "working"]);
  terminal.clear();
  t.true(written().split("working").at(-1)?.includes("\u001B[2K"), "what was drawn last is erased");
});

test("a terminal that tells no size, or 0 by 0, is taken for one of 80 columns", async (t) => {
  for (const size of [{ columns: 0, rows: 0 }, {} as { columns: number; rows: number }]) {
    const { stream, written } = fakeStream(true, size);
    const terminal = await openTerminal({ stream, env: {} });
    t.is(terminal.width, 79);
    terminal.status("working");
    t.true(stripVTControlCharacters(written()).includes("working"));
    terminal.clear();
  }
});

test("--quiet silences lines and status", async (t) => {
  const { stream, written } = fakeStream(true);
  const terminal = await openTerminal({ stream, quiet: true, env: {} });
  terminal.line("one");
  terminal.warn("two");
  terminal.status("working");
  terminal.clear();
  t.is(written(), "");
});

test("colors are for terminals, NO_COLOR forbids and FORCE_COLOR demands them", async (t) => {
  const colored = async (isTTY: boolean, env: NodeJS.ProcessEnv) =>
    (await openTerminal({ stream: fakeStream(isTTY).stream, env })).colors.red("x") !== "x";
  t.true(await colored(true, {}));
  t.false(await colored(false, {}));
  t.false(await colored(true, { NO_COLOR: "1" }));
  t.false(await colored(true, { NO_COLOR: "1", FORCE_COLOR: "1" }));
  t.true(await colored(false, { FORCE_COLOR: "1" }));
  t.false(await colored(true, { TERM: "dumb" }));
});
