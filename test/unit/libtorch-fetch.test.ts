import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";

import { NativeError, OutputError } from "#src/errors.js";
import { fetchLibtorch } from "#src/native/fetch/fetch-libtorch.js";
import { archiveUrl } from "#src/native/fetch/official-archive.js";
import { cudaRequirements } from "#src/native/fetch/torch-wheels.js";
import { findLibtorch } from "#src/native/libtorch.js";
import { libtorchFiles, writeTorchWheels, writeWheel } from "../helpers/fake-libtorch.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { writeZip } from "../helpers/zip-file.js";

/** pip with nothing but a folder of wheels, and no way to the official archive. */
function offlineEnv(folder: string): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    HOME: folder,
    STEADYTUNE_CACHE: join(folder, "cache"),
    STEADYTUNE_LIBTORCH_URL: "http://127.0.0.1:9/libtorch.zip",
    PIP_CONFIG_FILE: "/dev/null",
    PIP_NO_INDEX: "1",
    PIP_FIND_LINKS: join(folder, "wheels"),
    PIP_RETRIES: "0",
  };
}

/** The same without python3, and with an archive on this machine. */
function archiveEnv(folder: string, url: string): NodeJS.ProcessEnv {
  mkdirSync(join(folder, "bin"), { recursive: true });
  return { ...offlineEnv(folder), PATH: join(folder, "bin"), STEADYTUNE_LIBTORCH_URL: url };
}

function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

async function serve(
  t: ExecutionContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Sends these bytes and breaks the connection when they stand in the partial file. */
function cutAfter(response: ServerResponse, bytes: Buffer, folder: string): void {
  const part = join(folder, "cache/libtorch/.downloads/libtorch.zip.part");
  response.write(bytes);
  const poll = setInterval(() => {
    if (!existsSync(part) || statSync(part).size < bytes.length) return;
    clearInterval(poll);
    response.destroy();
  }, 10);
}

function writeArchive(path: string): Buffer {
  const content = { ...libtorchFiles("2.15.0"), "build-version": "2.15.0+cpu", "lib/libtorch_cpu.a": "static" };
  writeZip(path, Object.fromEntries(Object.entries(content).map(([name, text]) => [`libtorch/${name}`, text])));
  return readFileSync(path);
}

test("pip delivers torch and the two CUDA wheels that its CPU library needs, and only what is needed is unpacked", async (t) => {
  const folder = temporaryFolder(t);
  writeTorchWheels(join(folder, "wheels"));
  const env = offlineEnv(folder);
  const libtorch = await fetchLibtorch({ env, cuda: false });
  t.like(libtorch, { version: "2.15.0", source: "cache", cuda: false });
  t.deepEqual(files(join(folder, "cache/libtorch/2.15.0-cpu")), [
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
    "steadytune-libtorch.json",
    "torch/include/ATen/ATen.h",
    "torch/include/torch/torch.h",
    "torch/lib/libc10.so",
    "torch/lib/libtorch_cpu.so",
    "torch/version.py",
  ]);
  t.deepEqual(findLibtorch({ env }).chosen, libtorch);
  t.deepEqual(files(join(folder, "cache/libtorch/.downloads")), []);
});

test("with a GPU the other CUDA wheels come too, and a CPU entry does not stand in their way", async (t) => {
  const folder = temporaryFolder(t);
  writeTorchWheels(join(folder, "wheels"));
  const env = offlineEnv(folder);
  await fetchLibtorch({ env, cuda: false });
  const libtorch = await fetchLibtorch({ env, cuda: true });
  t.true(libtorch.cuda);
  const unpacked = files(join(folder, "cache/libtorch/2.15.0-cuda"));
  for (const name of [
    "nvidia/cu13/lib/libcublas.so.13",
    "nvidia/nccl/lib/libnccl.so.2",
    "torch/lib/libtorch_cuda.so",
  ]) {
    t.true(unpacked.includes(name), name);
  }
  t.false(unpacked.includes("torch/lib/libtorch_python.so"));
});

test("another version than the pinned one is fetched beside it, and does not take its place", async (t) => {
  const folder = temporaryFolder(t);
  writeTorchWheels(join(folder, "wheels"));
  const oldest = Object.entries(libtorchFiles("2.11.0")).map(([name, content]) => [`torch/${name}`, content]);
  writeWheel(join(folder, "wheels"), "torch", "2.11.0", Object.fromEntries(oldest) as Record<string, string>);
  const env = offlineEnv(folder);
  const pinned = await fetchLibtorch({ env, cuda: false });
  const other = await fetchLibtorch({ version: "2.11.0", env, cuda: false });
  t.like(other, { version: "2.11.0", root: join(folder, "cache/libtorch/2.11.0-cpu/torch") });
  t.deepEqual(findLibtorch({ env }).chosen, pinned);
});

test("a second call finds the work done", async (t) => {
  const folder = temporaryFolder(t);
  writeTorchWheels(join(folder, "wheels"));
  const env = offlineEnv(folder);
  const first = await fetchLibtorch({ env, cuda: false });
  const notes: string[] = [];
  const second = await fetchLibtorch({
    env: { ...env, PATH: "" },
    cuda: false,
    report: (progress) => notes.push(progress.type),
  });
  t.deepEqual(second, first);
  t.deepEqual(notes, []);
});

test("two calls at once take turns, and one of them does the work", async (t) => {
  const folder = temporaryFolder(t);
  writeTorchWheels(join(folder, "wheels"));
  const env = offlineEnv(folder);
  const notes: string[] = [];
  const report = (progress: { type: string; text?: string }): void => {
    if (progress.text !== undefined) notes.push(progress.text);
  };
  const [first, second] = await Promise.all([
    fetchLibtorch({ env, cuda: false, report }),
    fetchLibtorch({ env, cuda: false, report }),
  ]);
  t.deepEqual(first, second);
  t.is(notes.filter((note) => note.startsWith("waiting")).length, 1);
  t.is(notes.filter((note) => note.includes("pip download --no-deps torch")).length, 1);
});

test("without pip the official archive is downloaded, and static libraries stay packed", async (t) => {
  const folder = temporaryFolder(t);
  const archive = writeArchive(join(folder, "libtorch.zip"));
  const url = await serve(t, (_request, response) => response.end(archive));
  const env = archiveEnv(folder, `${url}/libtorch.zip`);
  const libtorch = await fetchLibtorch({ env, cuda: false });
  t.like(libtorch, { version: "2.15.0", source: "cache", cuda: false });
  t.false(existsSync(join(libtorch.root, "lib/libtorch_cpu.a")));
  t.true(existsSync(join(libtorch.root, "include/ATen/ATen.h")));
});

test("the official archive is the one of the pinned version, with CUDA where it is wanted", (t) => {
  const folder = "https://download.pytorch.org/libtorch";
  const url = (cuda: boolean): string => archiveUrl({ version: "2.15.0", cuda, env: {} });
  t.is(url(false), `${folder}/cpu/libtorch-shared-with-deps-2.15.0%2Bcpu.zip`);
  t.is(url(true), `${folder}/cu132/libtorch-shared-with-deps-2.15.0%2Bcu132.zip`);
});

test("a download that is cut off goes on where it stopped", async (t) => {
  const folder = temporaryFolder(t);
  const archive = writeArchive(join(folder, "libtorch.zip"));
  const ranges: (string | undefined)[] = [];
  const url = await serve(t, (request, response) => {
    ranges.push(request.headers.range);
    response.setHeader("ETag", '"one"');
    if (request.headers.range === undefined) {
      response.writeHead(200, { "Content-Length": archive.length });
      cutAfter(response, archive.subarray(0, 100), folder);
    } else {
      t.is(request.headers["if-range"], '"one"');
      response.writeHead(206, { "Content-Range": `bytes 100-${archive.length - 1}/${archive.length}` });
      response.end(archive.subarray(100));
    }
  });
  const libtorch = await fetchLibtorch({ env: archiveEnv(folder, `${url}/libtorch.zip`), cuda: false });
  t.deepEqual(ranges, [undefined, "bytes=100-"]);
  t.is(libtorch.version, "2.15.0");
});

test("a download that stays cut off names what arrived, and a later call goes on from there", async (t) => {
  const folder = temporaryFolder(t);
  const archive = writeArchive(join(folder, "libtorch.zip"));
  let cut = true;
  const ranges: (string | undefined)[] = [];
  const url = await serve(t, (request, response) => {
    ranges.push(request.headers.range);
    response.setHeader("ETag", '"one"');
    const from = request.headers.range === undefined ? 0 : 100;
    response.writeHead(from === 0 ? 200 : 206, {
      "Content-Length": archive.length - from,
      ...(from === 0 ? {} : { "Content-Range": `bytes 100-${archive.length - 1}/${archive.length}` }),
    });
    if (!cut) response.end(archive.subarray(from));
    else if (from === 0) cutAfter(response, archive.subarray(0, 100), folder);
    else response.destroy();
  });
  const env = archiveEnv(folder, `${url}/libtorch.zip`);
  const error = await t.throwsAsync(fetchLibtorch({ env, cuda: false }), { instanceOf: NativeError });
  t.regex(error?.message ?? "", /official archive: the download of .* was cut off after 1 kB/);
  t.regex(error?.hint ?? "", /goes on where it stopped/);
  t.is(findLibtorch({ env }).chosen, null);
  cut = false;
  ranges.length = 0;
  await fetchLibtorch({ env, cuda: false });
  t.deepEqual(ranges, ["bytes=100-"]);
});

test("another file under the same address begins anew", async (t) => {
  const folder = temporaryFolder(t);
  const archive = writeArchive(join(folder, "libtorch.zip"));
  let etag = '"old"';
  const url = await serve(t, (_request, response) => {
    response.setHeader("ETag", etag);
    response.writeHead(200, { "Content-Length": archive.length });
    if (etag === '"old"') cutAfter(response, Buffer.alloc(100), folder);
    else response.end(archive);
  });
  const env = archiveEnv(folder, `${url}/libtorch.zip`);
  await t.throwsAsync(fetchLibtorch({ env, cuda: false }));
  etag = '"new"';
  t.is((await fetchLibtorch({ env, cuda: false })).version, "2.15.0");
});

test("a broken archive is named and not kept", async (t) => {
  const folder = temporaryFolder(t);
  const archive = writeArchive(join(folder, "libtorch.zip"));
  let broken: Buffer = Buffer.from(archive);
  // Within the bytes of the first entry: a header of 30 bytes and a name of 28 stand before them.
  broken[65] = (broken[65] ?? 0) ^ 0xff;
  const url = await serve(t, (_request, response) => response.end(broken));
  const env = archiveEnv(folder, `${url}/libtorch.zip`);
  const damaged = await t.throwsAsync(fetchLibtorch({ env, cuda: false }), { instanceOf: NativeError });
  t.regex(damaged?.message ?? "", /libtorch\.zip is damaged: libtorch\/lib\/libtorch_cpu\.so/);
  broken = archive.subarray(0, archive.length - 30);
  const cut = await t.throwsAsync(fetchLibtorch({ env, cuda: false }), { instanceOf: NativeError });
  t.regex(cut?.message ?? "", /libtorch\.zip is damaged: it has no end record, as if it had been cut off/);
  t.deepEqual(files(join(folder, "cache/libtorch/.downloads")), []);
  t.false(existsSync(join(folder, "cache/libtorch/.unpacking")));
});

test("an archive that would write outside the cache is refused", async (t) => {
  const folder = temporaryFolder(t);
  writeZip(join(folder, "libtorch.zip"), { "libtorch/include/../../../../evil.h": "" });
  const url = await serve(t, (_request, response) => response.end(readFileSync(join(folder, "libtorch.zip"))));
  const error = await t.throwsAsync(fetchLibtorch({ env: archiveEnv(folder, `${url}/libtorch.zip`), cuda: false }));
  t.regex(error?.message ?? "", /leads out of its folder/);
  t.false(existsSync(join(folder, "evil.h")));
});

test("a wheel whose content is not what its RECORD says is refused by file name", async (t) => {
  const folder = temporaryFolder(t);
  const torch = Object.fromEntries(
    Object.entries(libtorchFiles("2.15.0")).map(([name, text]) => [`torch/${name}`, text]),
  );
  const checksum = (name: string): string => (name.endsWith("libc10.so") ? "AAAA" : "BBBB");
  writeWheel(join(folder, "wheels"), "torch", "2.15.0", torch, { checksum });
  const error = await t.throwsAsync(fetchLibtorch({ env: offlineEnv(folder), cuda: false }), {
    instanceOf: NativeError,
  });
  t.is(error?.code, "ERR_LIBTORCH_NOT_FOUND");
  t.regex(
    error?.message ?? "",
    /torch-2\.15\.0-py3-none-any\.whl is damaged: torch\/\S+ does not match its SHA-256 in RECORD/,
  );
  t.false(existsSync(join(folder, "cache/libtorch/2.15.0-cpu")));
});

test("when every source fails, each reason and a command for each stand in the error", async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "wheels"));
  const error = await t.throwsAsync(fetchLibtorch({ env: offlineEnv(folder), cuda: false }), {
    instanceOf: NativeError,
  });
  t.is(error?.code, "ERR_LIBTORCH_NOT_FOUND");
  t.regex(
    error?.message ?? "",
    /pip: pip knows no wheel of torch==2\.15\.0, nor .*; official archive: \S+ cannot be reached/,
  );
  t.regex(error?.hint ?? "", /python3 -m pip index versions torch/);
  t.regex(error?.hint ?? "", /set LIBTORCH/);
});

test("no network is told apart from a missing wheel", async (t) => {
  const folder = temporaryFolder(t);
  const { PIP_NO_INDEX: _index, PIP_FIND_LINKS: _links, ...rest } = offlineEnv(folder);
  const env = { ...rest, PIP_INDEX_URL: "http://127.0.0.1:9/simple/", PIP_RETRIES: "1" };
  const error = await t.throwsAsync(fetchLibtorch({ env, cuda: false }), { instanceOf: NativeError });
  t.regex(error?.message ?? "", /pip: pip has no way to its package index/);
  t.regex(error?.hint ?? "", /PIP_FIND_LINKS=/);
});

test("a wheel that is cut off half-way is said to be, with what arrived", async (t) => {
  const folder = temporaryFolder(t);
  const wheel = "torch-2.15.0-py3-none-any.whl";
  const url = await serve(t, (request, response) => {
    if (request.url?.endsWith(wheel)) {
      response.writeHead(200, { "Content-Length": 40_000_000, "Content-Type": "application/octet-stream" });
      response.write(Buffer.alloc(3_000_000), () => setTimeout(() => response.destroy(), 100));
    } else {
      response.writeHead(200, { "Content-Type": "text/html" });
      response.end(`<!DOCTYPE html><html><body><a href="/files/${wheel}">${wheel}</a></body></html>`);
    }
  });
  const { PIP_NO_INDEX: _index, PIP_FIND_LINKS: _links, ...rest } = offlineEnv(folder);
  const env = { ...rest, PIP_INDEX_URL: `${url}/simple/`, PIP_RETRIES: "0", PIP_RESUME_RETRIES: "0" };
  const error = await t.throwsAsync(fetchLibtorch({ env, cuda: false }), { instanceOf: NativeError });
  t.regex(error?.message ?? "", /pip: the download of torch==2\.15\.0 was cut off/);
  t.regex(error?.hint ?? "", /Run it again/);
  t.deepEqual(files(join(folder, "cache/libtorch")), []);
});

test("a python3 without pip is told apart from no python3", async (t) => {
  const folder = temporaryFolder(t);
  const env = archiveEnv(folder, "http://127.0.0.1:9/libtorch.zip");
  const none = await t.throwsAsync(fetchLibtorch({ env, cuda: false }));
  t.regex(none?.message ?? "", /pip: python3 is not on PATH/);
  writeFileSync(join(folder, "bin/python3"), "#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n");
  chmodSync(join(folder, "bin/python3"), 0o755);
  const noPip = await t.throwsAsync(fetchLibtorch({ env, cuda: false }), { instanceOf: NativeError });
  t.regex(noPip?.message ?? "", /pip: python3 has no pip/);
  t.regex(noPip?.hint ?? "", /apt-get install python3-pip/);
});

test("too little disk space is said before anything is downloaded", async (t) => {
  const folder = temporaryFolder(t);
  writeTorchWheels(join(folder, "wheels"));
  const error = await t.throwsAsync(
    fetchLibtorch({ env: offlineEnv(folder), cuda: false, freeBytes: () => Promise.resolve(5e8) }),
    { instanceOf: OutputError },
  );
  t.regex(error?.message ?? "", /has 500\.0 MB left, and 1\.20 GB are needed to fetch libtorch/);
  t.regex(error?.hint ?? "", /STEADYTUNE_CACHE=/);
  t.false(existsSync(join(folder, "cache/libtorch/.unpacking")));
});

test("a cache that cannot be a folder is named", async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "file"), "");
  const env = { ...offlineEnv(folder), STEADYTUNE_CACHE: join(folder, "file") };
  const error = await t.throwsAsync(fetchLibtorch({ env, cuda: false }), { instanceOf: OutputError });
  t.is(error?.message, `${join(folder, "file/libtorch")} cannot be written (ENOTDIR).`);
  const nowhere = fetchLibtorch({ env: { ...offlineEnv(folder), STEADYTUNE_CACHE: "/proc/nope" }, cuda: false });
  await t.throwsAsync(nowhere, { instanceOf: OutputError, message: /^\/proc\/nope\/libtorch cannot be made/ });
});

test("what a killed call left is cleared away, and its whole wheels are used", async (t) => {
  const folder = temporaryFolder(t);
  const cache = join(folder, "cache/libtorch");
  mkdirSync(join(cache, ".unpacking/torch/lib"), { recursive: true });
  mkdirSync(join(cache, ".downloads/.pip-1/half"), { recursive: true });
  writeFileSync(join(cache, ".unpacking/torch/lib/stray.so"), "half");
  writeTorchWheels(join(folder, "wheels"));
  await fetchLibtorch({ env: offlineEnv(folder), cuda: false });
  t.deepEqual(readdirSync(join(cache, ".downloads")), []);
  t.false(files(join(cache, "2.15.0-cpu")).includes("torch/lib/stray.so"));
});

test("the requirements of CUDA wheels are read from torch's metadata, in the form of any supported version", (t) => {
  const requirements = [
    "filelock",
    'cuda-toolkit[cublas,cudart,cupti,nvtx]==13.0.2; platform_system == "Linux"',
    'cuda-bindings<14,>=13.0.3; platform_system == "Linux"',
    'nvidia-cudnn-cu13==9.19.0.56; platform_system == "Linux"',
    'nvidia-cuda-runtime-cu12==12.8.90; platform_system == "Linux"',
    'nvidia-something==1; extra == "more"',
  ];
  t.deepEqual(cudaRequirements(requirements, false), [
    "cuda-toolkit[cudart,cupti]==13.0.2",
    "nvidia-cuda-runtime-cu12==12.8.90",
  ]);
  t.deepEqual(cudaRequirements(requirements, true), [
    "cuda-toolkit[cublas,cudart,cupti,nvtx]==13.0.2",
    "nvidia-cudnn-cu13==9.19.0.56",
    "nvidia-cuda-runtime-cu12==12.8.90",
  ]);
  t.deepEqual(cudaRequirements(["filelock"], true), []);
});
