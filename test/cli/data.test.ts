import { join } from "node:path";
import test from "ava";
import type { TaskDescription } from "#src/data/describe.js";
import type { TokenLengths } from "#src/data/encoded.js";
import { steadytune } from "../helpers/cli.js";
import { outsideData } from "../helpers/data-files.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

const tickets = ["data", "--data", ticketsFile, "--text", "body", "--label", "queue"];

test("a table of one's own is shown with rows, labels, baselines and samples", async (t) => {
  const { code, stdout, stderr } = await steadytune(tickets);
  t.is(code, 0, stderr);
  t.regex(stdout, /^tickets: 4 classes, one text a row, scored by accuracy$/m);
  t.regex(stdout, /^split +rows +from$/m);
  t.regex(stdout, /^majority class, accuracy +0\.\d{4} +0\.\d{4} +0\.\d{4}$/m);
  t.notRegex(stdout, /^tokens/m);
});

test("with a model, lengths in tokens are shown too", async (t) => {
  const model = tinyModel(temporaryFolder(t));
  const { code, stdout, stderr } = await steadytune([...tickets, "--model", model, "--max-length", "8", "--json"]);
  t.is(code, 0, stderr);
  const found = JSON.parse(stdout) as TaskDescription & { splits: { tokens: TokenLengths }[]; maxLength: number };
  t.is(found.maxLength, 8);
  t.is(
    found.splits.reduce((sum, { rows }) => sum + rows, 0),
    160,
  );
  for (const { tokens } of found.splits) {
    t.true(tokens.min >= 3 && tokens.min <= tokens.median && tokens.median <= tokens.p95);
    t.is(tokens.max, 8);
    t.true(tokens.full > 0);
  }
});

test("an unknown column is refused with the columns that there are", async (t) => {
  const { code, stderr } = await steadytune(["data", "--data", ticketsFile, "--text", "bodi", "--label", "queue"]);
  t.is(code, 2);
  t.regex(stderr, /^error: .*'?bodi'?.*\n(hint: .*body.*\n)?$/);
});

test("RTE has the paper's halves", async (t) => {
  const glue = outsideData(t, "glue");
  if (glue === null) return;
  const { stdout } = await steadytune(["data", "--task", "rte", "--data", join(glue), "--json"]);
  const { splits } = JSON.parse(stdout) as TaskDescription;
  t.deepEqual(
    splits.map(({ rows }) => rows),
    [2490, 138, 139],
  );
});
