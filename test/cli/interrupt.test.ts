import { spawn } from "node:child_process";
import { once } from "node:events";
import test from "ava";

/** A program that waits for its signal and then never ends on its own. */
const stubborn = `
  import { interruptible } from "./dist/cli/interrupt.js";
  import { openTerminal } from "./dist/cli/terminal.js";
  const terminal = await openTerminal();
  setInterval(() => {}, 1000);
  await interruptible(terminal, async (signal) => {
    terminal.line("ready");
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    terminal.line("told");
    await new Promise(() => {});
  });
`;

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`the second ${signal} ends what does not stop on the first`, async (t) => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", stubborn], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let seen = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      const before = seen;
      seen += text;
      for (const word of ["ready\n", "told\n"]) if (!before.includes(word) && seen.includes(word)) child.kill(signal);
    });
    const [, endedBy] = (await once(child, "close")) as [number | null, string | null];
    t.is(endedBy, signal);
    t.regex(seen, /stopping as soon as everything is saved/);
  });
}
