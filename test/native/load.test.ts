import { Worker } from "node:worker_threads";
import test from "ava";

import { requireLibtorch, torchMinor } from "#src/native/libtorch.js";
import { loadAddon, preload } from "#src/native/load.js";

test("the addon runs with the libtorch that was found, and was built for it", (t) => {
  const { version } = requireLibtorch();
  const { torchConfig, builtForTorch } = loadAddon().info();
  t.true(torchConfig.includes(`TORCH_VERSION=${version}`));
  t.is(torchMinor(builtForTorch), torchMinor(version));
  t.is(loadAddon(), loadAddon());
});

test("the addon loads in worker threads beside the main one", async (t) => {
  loadAddon();
  const module = new URL("../../dist/native/load.js", import.meta.url).href;
  const script = `
    import(${JSON.stringify(module)}).then(({ loadAddon }) =>
      require("node:worker_threads").parentPort.postMessage(loadAddon().info().builtForTorch));
  `;
  const workers = [1, 2].map(() => new Worker(script, { eval: true }));
  const versions = await Promise.all(
    workers.map(
      (worker) =>
        new Promise((resolve, reject) => {
          worker.once("message", resolve);
          worker.once("error", reject);
        }),
    ),
  );
  const { builtForTorch } = loadAddon().info();
  t.deepEqual(versions, [builtForTorch, builtForTorch]);
});

test("a library that does not load is named, with the loader's reason", (t) => {
  const error = t.throws(() => preload("/nowhere/libc10.so"), { code: "ERR_ADDON" });
  t.regex(error?.message ?? "", /^\/nowhere\/libc10\.so does not load: .*cannot open shared object file/);
});
