import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import ts from "typescript";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const guide = readFileSync(join(root, "docs/api.md"), "utf8");
const examples = [...guide.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code ?? "");

/** What the guide calls study.json, with little to do. */
const study = {
  name: "tickets",
  base: { model: "./bert-base-uncased", data: "./tickets.csv", text: "body", label: "queue", maxLength: 32, steps: 4 },
  stages: [{ name: "only", recipes: [{ name: "plain" }], seeds: 1 }],
};

test("every example of the guide has the right types and runs as it stands", (t) => {
  t.true(examples.length >= 5);
  // Inside the package, so that `import "steadytune"` means this one.
  const folder = mkdtempSync(join(root, "dist-test/guide-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const files = examples.map((code, i) => {
    const path = join(folder, `example-${i + 1}.mts`);
    writeFileSync(path, code);
    return path;
  });
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
    types: ["node"],
    strict: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
  });
  const problems = ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  t.deepEqual(problems, []);
  program.emit();

  const place = temporaryFolder(t);
  renameSync(tinyModel(place), join(place, "bert-base-uncased"));
  copyFileSync(ticketsFile, join(place, "tickets.csv"));
  mkdirSync(join(place, "runs"));
  writeFileSync(join(place, "study.json"), JSON.stringify(study));
  for (const [i, file] of files.entries()) {
    const { status, stderr } = spawnSync(process.execPath, [file.replace(/\.mts$/, ".mjs")], { cwd: place });
    t.is(status, 0, `example ${i + 1}: ${stderr.toString()}`);
  }
});
