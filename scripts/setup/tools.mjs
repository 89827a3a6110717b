import { outputOf } from "./run.mjs";
import { SetupError } from "./setup-error.mjs";

const install =
  "`sudo apt-get install g++ cmake make` (Debian, Ubuntu) or `sudo dnf install gcc-c++ cmake make` (Fedora, RHEL)";
const oldest = { cmake: "3.18", gcc: 11, clang: 14 };

/** Throws SetupError unless cmake, a C++20 compiler and make or ninja are there. */
export function checkTools(env = process.env) {
  checkCmake(env);
  checkCompiler(env);
  if (outputOf("ninja", ["--version"], env) === null && outputOf("make", ["--version"], env) === null) {
    throw new SetupError(
      "Neither make nor ninja is on PATH; cmake needs one of them to build the addon.",
      `Install it: ${install}.`,
    );
  }
}

function checkCmake(env) {
  const version = /\d+\.\d+(\.\d+)?/.exec(outputOf("cmake", ["--version"], env) ?? "")?.[0];
  if (version === undefined) {
    throw new SetupError(
      "cmake is not on PATH, and the addon has to be compiled.",
      `Install it: ${install}, or \`python3 -m pip install cmake\`.`,
    );
  }
  if (version.localeCompare(oldest.cmake, "en", { numeric: true }) < 0) {
    throw new SetupError(
      `cmake on PATH is ${version}, and ${oldest.cmake} or newer is needed.`,
      "Install a newer one: `python3 -m pip install cmake`.",
    );
  }
}

/** Throws SetupError unless a C++20 compiler is there. */
export function checkCompiler(env) {
  const names = env.CXX ? [env.CXX] : ["c++", "g++", "clang++"];
  for (const name of names) {
    const macros = outputOf(name, ["-dM", "-E", "-x", "c++", "/dev/null"], env);
    if (macros === null) continue;
    const clang = /#define __clang_major__ (\d+)/.exec(macros)?.[1];
    const [kind, version] =
      clang === undefined ? ["gcc", /#define __GNUC__ (\d+)/.exec(macros)?.[1]] : ["clang", clang];
    if (Number(version) >= oldest[kind]) return;
    throw new SetupError(
      `The C++ compiler ${name} is ${kind} ${version}, and ${kind} ${oldest[kind]} or newer is needed (C++20).`,
      "Install a newer one and name it: `CXX=g++-12 npm run setup`.",
    );
  }
  throw new SetupError(
    env.CXX
      ? `CXX=${env.CXX} does not run as a C++ compiler.`
      : `No C++ compiler was found (looked for ${names.join(", ")} on PATH).`,
    `Install one: ${install}.`,
  );
}
