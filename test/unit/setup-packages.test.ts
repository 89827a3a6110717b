import test from "ava";

interface Locked {
  version: string;
  integrity?: string;
  optional?: boolean;
}

const { differenceFromLock } = (await import(new URL("../../scripts/setup/packages.mjs", import.meta.url).href)) as {
  differenceFromLock: (locked: Record<string, Locked>, installed: Record<string, Locked> | null) => string | null;
};

const locked = {
  "": { version: "0.1.0" },
  "node_modules/a": { version: "1.0.0", integrity: "sha512-a" },
  "node_modules/a/node_modules/b": { version: "2.0.0", integrity: "sha512-b" },
  "node_modules/for-another-platform": { version: "3.0.0", integrity: "sha512-c", optional: true },
};

test("node_modules that hold what the lock file names are left alone", (t) => {
  const { "node_modules/for-another-platform": _optional, "": _root, ...installed } = locked;
  t.is(differenceFromLock(locked, installed), null);
});

test("missing packages, other versions and other contents are noticed by name", (t) => {
  const { "node_modules/a/node_modules/b": b, ...withoutB } = locked;
  t.is(differenceFromLock(locked, null), "node_modules is missing");
  t.is(differenceFromLock(locked, withoutB), "b is missing");
  t.is(
    differenceFromLock(locked, { ...locked, "node_modules/a/node_modules/b": { ...b, version: "2.0.1" } }),
    "b is not 2.0.0",
  );
  t.is(
    differenceFromLock(locked, { ...locked, "node_modules/a": { version: "1.0.0", integrity: "sha512-x" } }),
    "a is not 1.0.0",
  );
});
