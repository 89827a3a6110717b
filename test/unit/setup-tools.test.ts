import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";

import { temporaryFolder } from "../helpers/temporary-folder.js";

interface HintedError extends Error {
  hint: string;
}

const { checkTools } = (await import(new URL("../../scripts/setup/tools.mjs", import.meta.url).href)) as {
  checkTools: (env: NodeJS.ProcessEnv) => void;
};

/** A PATH with only these programs: shell scripts that print a line, or links to the real ones where it is null. */
function pathWith(t: ExecutionContext, programs: Record<string, string>): NodeJS.ProcessEnv {
  const folder = join(temporaryFolder(t), "bin");
  mkdirSync(folder);
  symlinkSync("/bin/sh", join(folder, "sh"));
  for (const [name, output] of Object.entries(programs)) {
    writeFileSync(join(folder, name), `#!/bin/sh\necho '${output}'\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return { PATH: folder };
}

function failure(t: ExecutionContext, programs: Record<string, string>, env: NodeJS.ProcessEnv = {}): HintedError {
  const path = pathWith(t, programs);
  return t.throws<HintedError>(() => checkTools({ ...path, ...env }));
}

const cmake = { cmake: "cmake version 3.25.1" };
const compiler = { "c++": "#define __GNUC__ 12" };

test("the tools that the README names are enough", (t) => {
  t.notThrows(() => checkTools(pathWith(t, { ...cmake, ...compiler, make: "GNU Make 4.3" })));
  t.notThrows(() =>
    checkTools(pathWith(t, { cmake: "cmake version 3.18.0", "c++": "#define __GNUC__ 11", ninja: "1.11" })),
  );
  t.notThrows(() => checkTools(pathWith(t, { ...cmake, "clang++": "#define __clang_major__ 16", ninja: "1.11" })));
});

test("no cmake, or one that is too old, is named with the command that helps", (t) => {
  const none = failure(t, compiler);
  t.regex(none.message, /cmake is not on PATH/);
  t.regex(none.hint, /sudo apt-get install g\+\+ cmake make/);
  const old = failure(t, { ...compiler, cmake: "cmake version 3.9.2" });
  t.regex(old.message, /cmake on PATH is 3\.9\.2, and 3\.18 or newer is needed/);
  t.regex(old.hint, /pip install cmake/);
});

test("no compiler is an error that says where it was looked for", (t) => {
  const { message, hint } = failure(t, cmake);
  t.regex(message, /No C\+\+ compiler was found \(looked for c\+\+, g\+\+, clang\+\+ on PATH\)/);
  t.regex(hint, /sudo apt-get install g\+\+/);
});

test("an old compiler is refused by its version, and CXX is believed", (t) => {
  const old = { ...cmake, make: "GNU Make 4.3", "c++": "#define __GNUC__ 9", "g++-12": "#define __GNUC__ 12" };
  t.regex(failure(t, old).message, /c\+\+ is gcc 9, and gcc 11 or newer is needed/);
  t.notThrows(() => checkTools({ ...pathWith(t, old), CXX: "g++-12" }));
  t.regex(failure(t, old, { CXX: "g++-13" }).message, /CXX=g\+\+-13 does not run as a C\+\+ compiler/);
});

test("cmake without make and ninja is not enough", (t) => {
  t.regex(failure(t, { ...cmake, ...compiler }).message, /Neither make nor ninja is on PATH/);
});
