import { writeFileSync } from "node:fs";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { readConfigFile } from "#src/config/file.js";
import { completeConfig } from "#src/config/resolve.js";
import type { OwnMethodConfig } from "#src/config/schema.js";
import { ConfigError } from "#src/errors.js";
import { loadOwnMethod } from "#src/methods/own-method.js";
import type { Method } from "#src/methods/method.js";
import { composePlan } from "#src/methods/plan.js";
import { configHash } from "#src/training/identity.js";
import { bertParameters } from "../helpers/bert-parameters.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const parameters = bertParameters(2);

type FileName = OwnMethodConfig["name"];

function methodFile(t: ExecutionContext, source: string): FileName {
  const path: FileName = `${temporaryFolder(t)}/mine.mjs`;
  writeFileSync(path, source);
  return path;
}

test("a module's default export takes the entry's options and gives the method", async (t) => {
  const name = methodFile(t, "export default ({ factor }) => () => ({ 'pooler.weight': { lrScale: factor } });");
  const plan = composePlan(parameters, [await loadOwnMethod({ name, factor: 3 })]);
  t.is(plan[parameters.findIndex((parameter) => parameter.name === "pooler.weight")]?.lrScale, 3);
});

const broken: [what: string, source: string, message: RegExp][] = [
  ["throws when it is loaded", "throw new Error('no luck');", /mine\.mjs cannot be loaded: no luck/],
  ["is no JavaScript", "export default (", /mine\.mjs cannot be loaded: /],
  ["has no default export", "export const method = 1;", /mine\.mjs has no function as its default export/],
  ["throws on its options", "export default () => { throw new Error('no rate'); };", /failed on its options: no rate/],
  ["gives a plan where a method is due", "export default () => ({});", /does not return a method from its default/],
  ["throws on the parameters", "export default () => () => { null.x; };", /the method .*mine\.mjs failed: /],
  ["returns nothing", "export default () => () => {};", /the method .*mine\.mjs does not return changes/],
  ["is async", "export default () => async () => ({});", /the method .*mine\.mjs does not return changes/],
  [
    "names an unknown parameter",
    "export default () => () => ({ 'poler.weight': { frozen: true } });",
    /the method .*mine\.mjs changes the parameter "poler\.weight", which the model does not have/,
  ],
  [
    "misspells a setting",
    "export default () => () => ({ 'pooler.weight': { lrscale: 2 } });",
    /the method .*mine\.mjs: pooler\.weight has no "lrscale" to change/,
  ],
  [
    "asks for a negative rate",
    "export default () => () => ({ 'pooler.weight': { lrScale: -1 } });",
    /mine\.mjs: pooler\.weight: lrScale must be a finite number of at least 0, but is -1/,
  ],
];

for (const [what, source, message] of broken) {
  test(`a method that ${what} is refused by its file's name`, async (t) => {
    const name = methodFile(t, source);
    const compose = async () => composePlan(parameters, [await loadOwnMethod({ name })]);
    await t.throwsAsync(compose(), { instanceOf: ConfigError, message });
  });
}

test("values that no plan can hold are refused, whoever asks for them", (t) => {
  const wrong: [changes: object, message: RegExp][] = [
    [{ lrScale: NaN }, /lrScale must be a finite number/],
    [{ lrScale: "2" }, /lrScale must be a finite number of at least 0, but is "2"/],
    [{ weightDecay: Infinity }, /weightDecay must be/],
    [{ weightDecay: -0.1 }, /weightDecay must be/],
    [{ frozen: 1 }, /frozen must be true or false/],
    [{ frozen: undefined }, /frozen must be true or false, but is undefined/],
    [{ decayTowards: "pretrained" }, /decayTowards must be "zero" or "start"/],
    [{ decayScaledByLr: null }, /decayScaledByLr must be true or false/],
    [{ reset: "fresh" }, /reset must be/],
    [{ reset: { normal: -1, stream: "reinit" } }, /reset must be/],
    [{ reset: { normal: 0.02, stream: "dropout" } }, /reset must be/],
  ];
  for (const [changes, message] of wrong) {
    const careless = (() => ({ "pooler.weight": changes })) as Method;
    t.throws(() => composePlan(parameters, [careless]), { instanceOf: ConfigError, message }, JSON.stringify(changes));
  }
  const careless = (() => ({ "pooler.weight": true })) as unknown as Method;
  t.throws(() => composePlan(parameters, [careless]), { message: /the method careless: pooler\.weight is to be true/ });
  const misspelt = (() => ({ "pooler.weight": { lrscale: 2 } })) as Method;
  const error = t.throws(() => composePlan(parameters, [misspelt]), { instanceOf: ConfigError });
  t.is(error.hint, 'did you mean "lrScale"?');
});

test("a method's file is named relative to the config that names it", (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "methods"));
  writeFileSync(join(folder, "methods/mine.mjs"), "export default () => () => ({});");
  writeFileSync(join(folder, "methods/config.json"), JSON.stringify({ methods: [{ name: "mine.mjs", factor: 2 }] }));
  writeFileSync(join(folder, "top.json"), JSON.stringify({ extends: "./methods/config.json" }));
  const [entry] = completeConfig(readConfigFile(join(folder, "top.json"))).methods;
  t.like(entry, { name: join(folder, "methods/mine.mjs"), factor: 2 });
});

test("an edited method makes another run, and is noticed where the run was set up before", async (t) => {
  const name = methodFile(t, "export default () => () => ({ 'pooler.weight': { lrScale: 2 } });");
  const before = completeConfig({ methods: [{ name }] });
  const [entry] = before.methods as OwnMethodConfig[];
  writeFileSync(name, "export default () => () => ({ 'pooler.weight': { lrScale: 5 } });");
  await t.throwsAsync(loadOwnMethod(entry!), { instanceOf: ConfigError, message: /mine\.mjs has changed/ });

  const after = completeConfig(before);
  t.not(configHash(after), configHash(before));
  const plan = composePlan(parameters, [await loadOwnMethod(after.methods[0] as OwnMethodConfig)]);
  t.true(plan.some(({ lrScale }) => lrScale === 5));
});

test("a method's file that is not there is found when the config is read", (t) => {
  t.throws(() => completeConfig({ methods: [{ name: "./nowhere.js" }] }), {
    instanceOf: ConfigError,
    message: /the method \/.*\/nowhere\.js does not exist/,
  });
  t.throws(() => completeConfig({ methods: [{ name: "nowhere" } as never] }), { message: /unknown method "nowhere"/ });
});
