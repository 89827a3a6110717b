import test from "ava";
import { steadytune } from "../helpers/cli.js";

interface Inspection {
  ok: boolean;
  problem: { code: string; message: string; hint?: string } | null;
  libtorch: { chosen: { version: string; source: string } | null; candidates: { source: string; outcome: string }[] };
  addon: { instructionSet: string; builtForTorch: string } | null;
  devices: string[];
}

test("a sound installation is shown with its libtorch, and why the others were passed over", async (t) => {
  const { code, stdout, stderr } = await steadytune(["inspect", "--json"]);
  t.is(code, 0, stderr);
  const found = JSON.parse(stdout) as Inspection;
  t.true(found.ok);
  t.regex(found.libtorch.chosen?.version ?? "", /^2\.\d+\.\d+$/);
  t.deepEqual(
    found.libtorch.candidates.map(({ source }) => source),
    ["LIBTORCH", "cache", "python", "pip", "archive"],
  );
  for (const { outcome } of found.libtorch.candidates) t.not(outcome, "");
  t.true(["default", "avx2", "avx512", "avx512_bf16"].includes(found.addon?.instructionSet ?? ""));
  t.true(found.devices.includes("cpu"));
  const { stdout: text } = await steadytune(["inspect"]);
  t.regex(text, /^libtorch +2\.\d+\.\d+ from /m);
});

test("a broken installation is shown all the same, with what is broken, and exits with 3", async (t) => {
  const env = { LIBTORCH: "/nowhere" };
  const { code, stdout } = await steadytune(["inspect", "--json"], { env });
  t.is(code, 3);
  const found = JSON.parse(stdout) as Inspection;
  t.false(found.ok);
  t.is(found.problem?.code, "ERR_LIBTORCH_NOT_FOUND");
  t.is(found.libtorch.chosen, null);
  const { code: textCode, stdout: text } = await steadytune(["inspect"], { env });
  t.is(textCode, 3);
  t.regex(text, /^broken: .*\/nowhere/m);
  t.regex(text, /^hint: /m);
});

test("passwords in addresses are not shown", async (t) => {
  const env = { HF_ENDPOINT: "https://someone:secret@mirror.example/hub" };
  const { stdout } = await steadytune(["inspect"], { env });
  t.regex(stdout, /HF_ENDPOINT +https:\/\/mirror\.example\/hub/);
  t.notRegex(stdout, /secret/);
});
