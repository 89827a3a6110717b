import { join } from "node:path";
import test from "ava";

import { NativeError } from "#src/errors.js";
import { findCuda } from "#src/native/cuda.js";
import { visibleGpus } from "#src/native/platform.js";
import { writeTree } from "../helpers/fake-libtorch.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const libtorch = { root: "/opt/libtorch", version: "2.15.0", cuda: true };
const addon = { version: "0.1.0", operators: "a" };

function writeKernels(root: string, record: { version: string; torch: string; operators: string } | null): void {
  writeTree(join(root, "build/cuda"), {
    "libsteadytune_cuda.so": "not opened",
    ...(record && { "steadytune-cuda.json": JSON.stringify(record) }),
  });
}

/** What stands in the way, as a person reads it. */
function problem(found: ReturnType<typeof findCuda>): { code: string; text: string } {
  if (!(found instanceof NativeError)) throw new Error("nothing stands in the way");
  return { code: found.code, text: `${found.message} ${found.hint}` };
}

test("on a machine with a GPU, libtorch's CUDA half and the kernels are found", (t) => {
  const root = temporaryFolder(t);
  writeKernels(root, { version: "0.1.0", torch: "2.15.1", operators: "a" });
  t.deepEqual(findCuda(libtorch, addon, { root, gpu: true }), {
    libtorch: "/opt/libtorch/lib/libtorch_cuda.so",
    kernels: join(root, "build/cuda/libsteadytune_cuda.so"),
  });
});

test("kernels that are missing, or do not say what they were built for, are an error with the command that builds them", (t) => {
  const root = temporaryFolder(t);
  const missing = problem(findCuda(libtorch, addon, { root, gpu: true }));
  t.is(missing.code, "ERR_CUDA_KERNELS");
  t.regex(missing.text, /not built: there is no .*libsteadytune_cuda\.so.*npm run build:cuda/);
  writeKernels(root, null);
  t.regex(problem(findCuda(libtorch, addon, { root, gpu: true })).text, /npm run build:cuda/);
});

test("kernels of another libtorch or another steadytune are refused before they are opened, naming both", (t) => {
  const root = temporaryFolder(t);
  writeKernels(root, { version: "0.1.0", torch: "2.11.0", operators: "a" });
  const other = problem(findCuda(libtorch, addon, { root, gpu: true }));
  t.is(other.code, "ERR_CUDA_KERNELS");
  t.regex(other.text, /built for steadytune 0\.1\.0 and libtorch 2\.11\.0, and this is .* libtorch 2\.15\.0/);
  t.regex(other.text, /npm run build:cuda/);
  t.regex(
    problem(findCuda({ ...libtorch, version: "2.11.0" }, { ...addon, version: "0.2.0" }, { root, gpu: true })).text,
    /steadytune 0\.2\.0/,
  );
});

test("kernels of the same version and other sources, as after a pull, are refused before they are opened", (t) => {
  const root = temporaryFolder(t);
  writeKernels(root, { version: "0.1.0", torch: "2.15.0", operators: "b" });
  t.regex(
    problem(findCuda(libtorch, addon, { root, gpu: true })).text,
    /built from other sources than the addon\..*npm run build:cuda/,
  );
});

test("a machine without a GPU, and a libtorch without CUDA, are told apart", (t) => {
  const root = temporaryFolder(t);
  writeKernels(root, { version: "0.1.0", torch: "2.15.0", operators: "a" });
  t.regex(problem(findCuda(libtorch, addon, { root, gpu: false })).text, /no NVIDIA GPU.*--device cpu/);
  const without = problem(findCuda({ ...libtorch, cuda: false }, addon, { root, gpu: true })).text;
  t.regex(without, /\/opt\/libtorch.*without CUDA.*LIBTORCH/);
});

test("CUDA_VISIBLE_DEVICES chooses among the GPUs, and can hide them all", (t) => {
  const visible = (CUDA_VISIBLE_DEVICES?: string, count = 4) =>
    visibleGpus(CUDA_VISIBLE_DEVICES === undefined ? {} : { CUDA_VISIBLE_DEVICES }, count);
  t.deepEqual(visible(), ["0", "1", "2", "3"]);
  t.deepEqual(visible("2, 0"), ["2", "0"]);
  t.deepEqual(visible("GPU-8932f937,MIG-5b1c"), ["GPU-8932f937", "MIG-5b1c"]);
  t.deepEqual(visible("1,7,2"), ["1"]);
  for (const hidden of ["", "-1", " ", "9"]) t.deepEqual(visible(hidden), [], hidden);
  t.deepEqual(visible("0", 0), []);
});
