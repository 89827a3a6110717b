import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import { steadytune } from "../helpers/cli.js";
import { childrenOf, outcomes, writeStudy } from "../helpers/ticket-study.js";

const one = [{ name: "plain" }];

test("kill -9 of the study alone: its worker saves and leaves, and the next run ends with the bits of an unbroken one", async (t) => {
  const { folder, file } = writeStudy(t, { base: { steps: 600 }, seeds: 1, recipes: one });
  const [whole, output] = [join(folder, "whole"), join(folder, "out")];
  t.is((await steadytune(["study", file, "--output", whole])).code, 0);
  t.is((await steadytune(["study", "plan", file, "--output", output])).code, 0);
  const work = join(output, "work");
  let workers: number[] = [];
  const killed = await steadytune(["study", "run", output], {
    onStderr: (child, text) => {
      if (workers.length > 0 || !/1 run/.test(text)) return;
      const wait = setInterval(() => {
        workers = childrenOf(child.pid ?? 0);
        const [id = ""] = existsSync(work) ? readdirSync(work).filter((name) => !name.endsWith(".lock")) : [];
        if (!existsSync(join(work, id, "state.bin"))) return;
        clearInterval(wait);
        child.kill("SIGKILL");
      }, 20);
    },
  });
  t.is(killed.signal, "SIGKILL");
  t.is(workers.length, 1);
  while (existsSync(`/proc/${workers[0]}`)) await sleep(50);
  t.deepEqual(
    readdirSync(work).filter((name) => name.endsWith(".lock")),
    [],
    "it let go of its trial",
  );
  const resumed = await steadytune(["study", "run", output]);
  t.is(resumed.code, 0, resumed.stderr);
  t.deepEqual(outcomes(output), outcomes(whole));
});

test("a trial whose worker dies each time fails, with what is known of the cause; the others go on", async (t) => {
  const { folder, file } = writeStudy(t, {
    seeds: 1,
    recipes: [{ name: "deadly", methods: [{ name: "./deadly.mjs" }] }, { name: "plain" }],
  });
  writeFileSync(
    join(folder, "deadly.mjs"),
    'export default () => () => { process.kill(process.pid, "SIGKILL"); while (true); };',
  );
  const output = join(folder, "out");
  const { code, stderr } = await steadytune(["study", file, "--workers", "1", "--output", output]);
  t.is(code, 1, stderr);
  t.is(stderr.match(/a worker process died of SIGKILL; the trial goes on/g)?.length, 1);
  t.regex(stderr, /failed: deadly on tickets, seed 0: a worker process died of SIGKILL\n.*hint: .*memory has run out/);
  t.is(readdirSync(join(output, "trials")).length, 1);
  const [failed = ""] = readdirSync(join(output, "work"));
  t.regex(readFileSync(join(output, "work", failed, "error.json"), "utf8"), /died of SIGKILL/);
});

test("a disk that fills up in the middle stops the study, blames no trial, and the next run goes on", async (t) => {
  const { folder, file } = writeStudy(t, { base: { steps: 60 }, seeds: 2, recipes: one });
  const [whole, output] = [join(folder, "whole"), join(folder, "out")];
  t.is((await steadytune(["study", file, "--output", whole])).code, 0);
  t.is((await steadytune(["study", "plan", file, "--output", output])).code, 0);

  // No file may be larger than 200 kB: the manifest and the logs are not, a saved state is.
  const program = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));
  const command = `ulimit -f 200; exec "${process.execPath}" "${program}" study run "${output}" --workers 1`;
  const child = spawn("bash", ["-c", command], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  t.is(code, 1, stderr);
  t.regex(stderr, /^error: .*state\.bin cannot be written: the file would be larger/m);
  t.false(stderr.includes("failed:"), stderr);

  const again = await steadytune(["study", "run", output]);
  t.is(again.code, 0, again.stderr);
  t.deepEqual(outcomes(output), outcomes(whole));
});
