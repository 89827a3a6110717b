import { lstat, mkdir, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { AbortedError, CheckpointError, ConfigError, HubError, OutputError } from "#src/errors.js";
import type { HubProgress } from "#src/models/hub.js";
import { readModelConfig } from "#src/models/config.js";
import { resolveModel } from "#src/models/resolve.js";
import { goldenCheckpoint } from "../helpers/checkpoint.js";
import { hubEtag, startHubServer, type HubRepository, type HubServer } from "../helpers/hub-server.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const commit = "0123456789abcdef0123456789abcdef01234567";

async function tinyRepository(): Promise<HubRepository> {
  const golden = goldenCheckpoint("bert-classification");
  return {
    commit,
    files: {
      "README.md": Buffer.from("# a model"),
      "config.json": await readFile(join(golden, "config.json")),
      "model.safetensors": await readFile(join(golden, "model.safetensors")),
      "pytorch_model.bin": Buffer.alloc(10_000, 1),
      "tf_model.h5": Buffer.alloc(10_000, 2),
      "vocab.txt": Buffer.from("[PAD]\n[UNK]\n"),
    },
  };
}

interface Hub {
  server: HubServer;
  /** The cache's folder of the repository org/tiny. */
  folder: string;
  cache: string;
}

/** The environment is the process's own: these tests run one after the other. */
async function startHub(t: ExecutionContext, repository: HubRepository): Promise<Hub> {
  const cache = join(temporaryFolder(t), "hub");
  const server = await startHubServer(t, { "org/tiny": repository });
  const before = { ...process.env };
  t.teardown(() => {
    process.env = before;
  });
  process.env = { ...before, HF_ENDPOINT: server.url, HF_HUB_CACHE: cache };
  for (const name of ["HF_TOKEN", "HF_HUB_OFFLINE"]) delete process.env[name];
  process.env["HF_TOKEN_PATH"] = join(cache, "token");
  return { server, cache, folder: join(cache, "models--org--tiny") };
}

test.serial("a cache folder that cannot be made is an error at once", async (t) => {
  await startHub(t, await tinyRepository());
  process.env["HF_HUB_CACHE"] = "/proc/nope/hub";
  await t.throwsAsync(resolveModel("org/tiny"), {
    instanceOf: OutputError,
    message: /^\/proc\/nope\/hub.* cannot be /,
  });
});

test.serial(
  "a model comes into the cache in huggingface_hub's own layout, and only the files that are needed",
  async (t) => {
    const repository = await tinyRepository();
    const { folder } = await startHub(t, repository);
    const model = await resolveModel("org/tiny");
    t.deepEqual(model, { folder: join(folder, "snapshots", commit), source: `org/tiny@${commit}`, notes: [] });
    t.deepEqual((await readdir(folder)).sort(), ["blobs", "refs", "snapshots"]);
    t.is(await readFile(join(folder, "refs/main"), "utf8"), commit);
    t.deepEqual((await readdir(model.folder)).sort(), ["config.json", "model.safetensors", "vocab.txt"]);
    for (const name of await readdir(model.folder)) {
      const content = repository.files[name]!;
      t.is(await readlink(join(model.folder, name)), `../../blobs/${hubEtag(content)}`);
      t.deepEqual(await readFile(join(model.folder, name)), content);
    }
    t.is((await readdir(join(folder, "blobs"))).length, 3);
    t.is((await readModelConfig(model.folder)).shape.hiddenSize, 32);
  },
);

test.serial("progress is told by file and over all files, and ends at the whole", async (t) => {
  const repository = await tinyRepository();
  await startHub(t, repository);
  const reports: HubProgress[] = [];
  await resolveModel("org/tiny", { onProgress: (progress) => reports.push(progress) });
  const total = ["config.json", "model.safetensors", "vocab.txt"].reduce(
    (sum, name) => sum + repository.files[name]!.length,
    0,
  );
  t.true(reports.every(({ totalBytes }) => totalBytes === total));
  t.true(reports.every(({ bytes }, index) => index === 0 || bytes >= reports[index - 1]!.bytes));
  t.like(reports.at(-1), { file: "model.safetensors", bytes: total });
});

test.serial("what is in the cache is not fetched again; a commit by its hash needs no network at all", async (t) => {
  const { server } = await startHub(t, await tinyRepository());
  const first = await resolveModel("org/tiny");
  server.ranges.length = 0;
  t.deepEqual(await resolveModel("org/tiny"), first);
  t.deepEqual(server.ranges, []);
  await server.close();
  t.deepEqual(await resolveModel(`org/tiny@${commit}`), first);
});

test.serial("offline, the cache answers without a request, and says so when it cannot", async (t) => {
  const { server } = await startHub(t, await tinyRepository());
  const first = await resolveModel("org/tiny");
  server.requests.length = 0;
  process.env["HF_HUB_OFFLINE"] = "1";
  t.deepEqual(await resolveModel("org/tiny"), first);
  await t.throwsAsync(resolveModel("org/other"), {
    instanceOf: HubError,
    message: /org\/other@main is not in the cache/,
  });
  await t.throwsAsync(resolveModel("org/tiny@v2"), {
    instanceOf: HubError,
    message: /org\/tiny@v2 is not in the cache/,
  });
  await rm(join(first.folder, "model.safetensors"));
  await t.throwsAsync(resolveModel("org/tiny"), { instanceOf: HubError, message: /HF_HUB_OFFLINE/ });
  t.deepEqual(server.requests, []);
});

test.serial("when the hub does not answer, the cached commit is used and that is said", async (t) => {
  const { server } = await startHub(t, await tinyRepository());
  const first = await resolveModel("org/tiny");
  await server.close();
  const { folder, notes } = await resolveModel("org/tiny");
  t.is(folder, first.folder);
  t.regex(notes.join(), /did not deliver org\/tiny@main: .* The cached commit 0123456789ab is used/);
  await t.throwsAsync(resolveModel("org/other"), {
    instanceOf: HubError,
    name: "HubError",
    message: /did not deliver org\/other@main/,
  });
});

test.serial("a new commit of the branch brings only the files that have changed", async (t) => {
  const repository = await tinyRepository();
  const { server, folder } = await startHub(t, repository);
  await resolveModel("org/tiny");
  server.ranges.length = 0;
  repository.commit = commit.replace("0", "f");
  repository.files["vocab.txt"] = Buffer.from("[PAD]\n");
  const model = await resolveModel("org/tiny");
  t.is(model.folder, join(folder, "snapshots", repository.commit));
  t.is(server.ranges.length, 1);
  t.is((await readdir(join(folder, "blobs"))).length, 4);
  t.is(await readFile(join(folder, "refs/main"), "utf8"), repository.commit);
});

test.serial("what a killed download has left is taken up where it ends", async (t) => {
  const repository = await tinyRepository();
  const { server, folder } = await startHub(t, repository);
  const weights = repository.files["model.safetensors"]!;
  await mkdir(join(folder, "blobs"), { recursive: true });
  await writeFile(join(folder, "blobs", `${hubEtag(weights)}.steadytune.incomplete`), weights.subarray(0, 1000));
  const model = await resolveModel("org/tiny");
  t.is(server.ranges.at(-1), `bytes=1000-${weights.length - 1}`);
  t.deepEqual(await readFile(join(model.folder, "model.safetensors")), weights);
  t.is((await readdir(join(folder, "blobs"))).length, 3);
});

test.serial("a connection that breaks half-way is made again without losing what had come", async (t) => {
  const repository = await tinyRepository();
  repository.files = { "config.json": Buffer.alloc(0), "model.safetensors": repository.files["model.safetensors"]! };
  const { server } = await startHub(t, repository);
  server.breakAfter = 50_000;
  const { folder } = await resolveModel("org/tiny");
  t.deepEqual(await readFile(join(folder, "model.safetensors")), repository.files["model.safetensors"]);
  const [first, second] = server.ranges;
  t.is(first, null);
  t.regex(second ?? "", /^bytes=[1-9]\d*-/);
});

test.serial("a file whose hash is not the announced one never enters the cache", async (t) => {
  const { server, folder } = await startHub(t, await tinyRepository());
  server.corrupt = true;
  await t.throwsAsync(resolveModel("org/tiny"), {
    instanceOf: HubError,
    message: /config.json of org\/tiny arrived damaged/,
  });
  t.deepEqual(await readdir(join(folder, "blobs")), []);
  server.corrupt = false;
  await t.notThrowsAsync(resolveModel("org/tiny"));
});

test.serial("a model in several files comes with all of them", async (t) => {
  const repository = await tinyRepository();
  const map = { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" };
  delete repository.files["model.safetensors"];
  repository.files["model.safetensors.index.json"] = Buffer.from(JSON.stringify({ weight_map: map }));
  for (const [index, name] of Object.values(map).entries()) repository.files[name] = Buffer.alloc(5000, index);
  const { server } = await startHub(t, repository);
  const { folder } = await resolveModel("org/tiny");
  const names = ["config.json", ...Object.values(map), "model.safetensors.index.json", "vocab.txt"];
  t.deepEqual((await readdir(folder)).sort(), names.sort());
  process.env["HF_HUB_OFFLINE"] = "1";
  t.is((await resolveModel("org/tiny")).folder, folder);
  await rm(join(folder, map.b));
  await t.throwsAsync(resolveModel("org/tiny"), { instanceOf: HubError });
  t.true(server.requests.length > 0);
});

test.serial("HF_TOKEN opens a private model, and without it the error says what to do", async (t) => {
  const repository = { ...(await tinyRepository()), token: "company-token" };
  const { cache } = await startHub(t, repository);
  const error = await t.throwsAsync(resolveModel("org/tiny"), { instanceOf: HubError });
  t.regex(error.message, /does not give out org\/tiny@main: it is private, gated, or does not exist/);
  t.regex(error.hint ?? "", /HF_TOKEN.* There is no folder org\/\S+ here, so the hub was asked\.$/);
  process.env["HF_TOKEN"] = "company-token";
  await t.notThrowsAsync(resolveModel("org/tiny"));
  delete process.env["HF_TOKEN"];
  await writeFile(join(cache, "token"), "company-token\n");
  await t.notThrowsAsync(resolveModel("org/tiny"));
});

test.serial("a missing model, revision or file is named", async (t) => {
  const repository = await tinyRepository();
  await startHub(t, repository);
  await t.throwsAsync(resolveModel("org/none"), { instanceOf: HubError, message: /has no org\/none@main/ });
  await t.throwsAsync(resolveModel("org/tiny@v9"), { instanceOf: HubError, message: /has no org\/tiny@v9/ });
  delete repository.files["config.json"];
  await t.throwsAsync(resolveModel("org/tiny"), {
    instanceOf: HubError,
    message: /holds no model .* it has no config.json/,
  });
});

test.serial("names that lead out of the cache are refused, from the user and from the hub", async (t) => {
  const repository = await tinyRepository();
  const { cache } = await startHub(t, repository);
  for (const name of ["org/..", "a b", "org--x/y", "org/tiny@../../x", "org/tiny@"]) {
    await t.throwsAsync(resolveModel(name), { instanceOf: ConfigError }, name);
  }
  repository.commit = "../../../escape";
  await t.throwsAsync(resolveModel("org/tiny"), { instanceOf: HubError, message: /gave no commit/ });
  await t.throwsAsync(lstat(join(cache, "models--org--tiny")), { code: "ENOENT" });
});

test.serial("an abort ends the download with ERR_ABORTED", async (t) => {
  await startHub(t, await tinyRepository());
  const controller = new AbortController();
  const fetching = resolveModel("org/tiny", { signal: controller.signal, onProgress: () => controller.abort() });
  await t.throwsAsync(fetching, { instanceOf: AbortedError, code: "ERR_ABORTED" });
});

test.serial("two fetches of one model at once share the work", async (t) => {
  const { server } = await startHub(t, await tinyRepository());
  const [first, second] = await Promise.all([resolveModel("org/tiny"), resolveModel("org/tiny")]);
  t.deepEqual(first, second);
  t.is(server.ranges.length, 3);
});

test.serial("a folder comes before a name of the hub, and a path that leads nowhere is not asked of it", async (t) => {
  const { server } = await startHub(t, await tinyRepository());
  const golden = goldenCheckpoint("bert-bf16");
  t.deepEqual(await resolveModel(golden), { folder: golden, source: golden, notes: [] });
  for (const path of ["./none", "/no/such/model", "a/b/c"]) {
    await t.throwsAsync(resolveModel(path), {
      instanceOf: CheckpointError,
      message: `The model folder ${path} does not exist.`,
    });
  }
  await t.throwsAsync(resolveModel(join(golden, "config.json")), { instanceOf: CheckpointError, message: /is a file/ });
  t.deepEqual(server.requests, []);
});

test.serial("two revisions that contradict each other are refused", async (t) => {
  await startHub(t, await tinyRepository());
  await t.throwsAsync(resolveModel("org/tiny@main", { revision: "v2" }), { instanceOf: ConfigError });
  await t.notThrowsAsync(resolveModel("org/tiny", { revision: commit }));
});
