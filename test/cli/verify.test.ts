import test from "ava";
import type { VerifyReport } from "#src/verify/report.js";
import { steadytune } from "../helpers/cli.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

test("the bundle that ships passes, as lines and as JSON", async (t) => {
  const { code, stdout, stderr } = await steadytune(["verify", "--json", "--threads", "1"]);
  t.is(code, 0, stderr);
  const report = JSON.parse(stdout) as VerifyReport;
  t.true(report.ok);
  for (const { name, error, tolerance, ok } of report.checks) t.true(ok && error <= tolerance, name);
  const { stdout: text } = await steadytune(["verify", "--threads", "1"]);
  t.regex(text, new RegExp(`^${report.checks.length} passed, 0 failed, ${report.skipped.length} skipped$`, "m"));
});

test("--dtype bfloat16 checks with the tolerances of bfloat16, on either engine", async (t) => {
  const args = ["verify", "--json", "--threads", "1", "--dtype", "bfloat16", "--engine", "reference"];
  const { code, stdout, stderr } = await steadytune(args);
  t.is(code, 0, stderr);
  const { ok, checks } = JSON.parse(stdout) as VerifyReport;
  const logits = checks.find(({ name }) => name === "bert-classification/logits");
  t.true(ok && logits !== undefined && logits.tolerance > 1e-3, JSON.stringify(logits));
});

test("a folder that is no bundle is refused", async (t) => {
  const { code, stderr } = await steadytune(["verify", temporaryFolder(t)]);
  t.is(code, 1);
  t.regex(stderr, /^error: .*holds no reference values/);
});
