import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import { configSchema } from "#src/config/schema.js";
import { steadytune } from "../helpers/cli.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const verbs = ["finetune", "study", "report", "evaluate", "predict", "verify", "data", "tokenize", "inspect", "config"];

test("help lists every command, and each command's help has examples", async (t) => {
  const { code, stdout } = await steadytune(["--help"]);
  t.is(code, 0);
  for (const verb of verbs) {
    t.regex(stdout, new RegExp(`^  ${verb} `, "m"));
    const help = await steadytune([verb, "--help"]);
    t.is(help.code, 0, verb);
    t.regex(help.stdout, /^Examples:\n {2}# .+\n {2}\$ /m, verb);
    t.regex(help.stdout, /--json/, verb);
  }
});

test("finetune has a flag for every key that is not nested, with the schema's words", async (t) => {
  const { stdout } = await steadytune(["finetune", "--help"]);
  const words = stdout.replaceAll(/\s+/g, " ");
  for (const [key, property] of Object.entries(configSchema.properties)) {
    if (property.group === "file" || ["optimizer", "methods", "transfer"].includes(key)) continue;
    t.regex(
      stdout,
      new RegExp(`^  --${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}[ \n]`, "m"),
      key,
    );
    t.true(words.includes(property.description.slice(1, -1)), key);
  }
});

test("help of a command is the same in both spellings", async (t) => {
  t.is((await steadytune(["help", "data"])).stdout, (await steadytune(["data", "--help"])).stdout);
});

test("no command prints the help", async (t) => {
  t.like(await steadytune([]), { code: 0, stdout: (await steadytune(["--help"])).stdout });
});

test("the version is the package's", async (t) => {
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as { version: string };
  t.like(await steadytune(["--version"]), { code: 0, stdout: `${version}\n` });
});

test("a wrong command line exits with 2 and says what helps, on stderr alone", async (t) => {
  const wrong: [string[], RegExp][] = [
    [["tokeniz"], /^error: unknown command 'tokeniz'\nhint: did you mean tokenize\?\n$/],
    [["finetune", "--batchsize", "3"], /^error: unknown option '--batchsize'\nhint: did you mean --batch-size\?\n$/],
    [["finetune", "--learning-rate", "3"], /\nhint: this key is nested: --set optimizer\.learningRate=VALUE\n$/],
    [["finetune", "--batch-size"], /^error: option '--batch-size <n>' argument missing\nhint: /],
    [["finetune"], /^error: no model is given\nhint: .*--model/],
    [["finetune", "--model", "m"], /^error: no data is given\nhint: .*--data/],
    [["finetune", "--model", "m", "--task", "RTE"], /^error: no data is given for RTE\nhint: .*--data FOLDER/],
    [["config", "--batch-size", "0"], /^error: batchSize must be at least 1, but is 0\n$/],
    [["config", "--batch-size", "many"], /^error: batchSize must be an integer, but is "many"\n$/],
    [
      ["config", "--set", "optimizer.learningRate=NaN"],
      /^error: optimizer\.learningRate must be a number, but is "NaN"\n$/,
    ],
    [["config", "--steps", "-5"], /^error: steps must be at least 1, but is -5\n$/],
    [["config", "--set", "optimiser.eps=1"], /^error: unknown key "optimiser"\nhint: did you mean "optimizer"\?\n$/],
    [["config", "--recipe", "papper"], /^error: there is no recipe "papper"\nhint: did you mean "paper"\?\n$/],
    [["config", "--recipe", "./nowhere.json"], /^error: the config file .*nowhere\.json does not exist\n$/],
    [["config", "everything"], /^error: .*'everything' is invalid/],
    [["data", "--task", "RTF", "--data", "."], /^error: unknown task 'RTF'.*\nhint: Did you mean RTE\?\n$/],
  ];
  for (const [args, message] of wrong) {
    const { code, stdout, stderr } = await steadytune(args);
    t.is(code, 2, args.join(" "));
    t.regex(stderr, message);
    t.is(stdout, "", args.join(" "));
  }
});

test("a trace is printed only with --verbose", async (t) => {
  const args = ["data", "--data", "/nowhere.csv"];
  const plain = await steadytune(args);
  t.is(plain.code, 1);
  t.notRegex(plain.stderr, /^ +at /m);
  t.regex((await steadytune([...args, "--verbose"])).stderr, /^ +at .*\[ERR_DATA\]$|^ +at /m);
});

test("a reader that stops early is no error", async (t) => {
  const child = spawn(process.execPath, [`${root}/dist/cli.js`, "config", "schema"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  child.stdout.destroy();
  const [code] = (await once(child, "close")) as [number];
  t.is(code, 0);
  t.is(stderr, "");
});

test("a terminal that is gone does not stop the work", async (t) => {
  const child = spawn(process.execPath, [`${root}/dist/cli.js`, "nope"], { stdio: ["ignore", "ignore", "pipe"] });
  child.stderr.destroy();
  const [code] = (await once(child, "close")) as [number];
  t.is(code, 2);
});

test("a full disk under standard output is an error", async (t) => {
  const full = openSync("/dev/full", "w");
  t.teardown(() => closeSync(full));
  const child = spawn(process.execPath, [`${root}/dist/cli.js`, "config", "schema"], {
    stdio: ["ignore", full, "pipe"],
  });
  let stderr = "";
  child.stderr?.on("data", (data: Buffer) => (stderr += data.toString()));
  const [code] = (await once(child, "close")) as [number];
  t.is(code, 1);
  t.regex(stderr, /^error: standard output cannot be written: .*ENOSPC/);
});

test("an output in a place that takes no folders is told at once, before any work", async (t) => {
  const places: string[][] = [
    ["finetune", "--model", "./none", "--data", "./none.csv", "--output", "/proc/nope/run"],
    ["verify", "--dump", "/proc/nope/x/computed.safetensors"],
  ];
  for (const args of places) {
    const { code, stderr } = await steadytune(args);
    t.is(code, 1, `${args.join(" ")}: ${stderr}`);
    t.regex(
      stderr,
      /^error: \/proc\/nope\S* cannot be made: what stands above it takes no new folders\.\nhint: Choose another path/,
    );
  }
});
