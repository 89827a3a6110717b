import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ExecutionContext } from "ava";

/** A repository on the server; large files are named by SHA-256 as Git LFS does, small ones by Git's own hash. */
export interface HubRepository {
  commit: string;
  files: Record<string, Buffer>;
  /** Demanded of every request when set. */
  token?: string;
}

export interface HubServer {
  url: string;
  /** "METHOD /path" of each request so far. */
  requests: string[];
  /** The bytes asked for by the Range header of each download so far, null for the whole file. */
  ranges: (string | null)[];
  /** Ends the next download after so many bytes, as a broken connection does. */
  breakAfter: number | null;
  /** Flips a byte of all downloads. */
  corrupt: boolean;
  close(): Promise<void>;
}

const largeBytes = 4096;

export function hubEtag(content: Buffer): string {
  if (content.length >= largeBytes) return createHash("sha256").update(content).digest("hex");
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

/** The part of the Hugging Face hub's interface that fetching a model needs, on a free port of loopback. */
export async function startHubServer(
  t: ExecutionContext,
  repositories: Record<string, HubRepository>,
): Promise<HubServer> {
  const server: HubServer = { url: "", requests: [], ranges: [], breakAfter: null, corrupt: false, close: stop };
  const http = createServer((request, response) => {
    server.requests.push(`${request.method} ${decodeURIComponent(request.url ?? "")}`);
    answer(server, repositories, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  t.teardown(stop);
  return server;

  async function stop(): Promise<void> {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  }
}

async function answer(
  server: HubServer,
  repositories: Record<string, HubRepository>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = decodeURIComponent(new URL(request.url ?? "", server.url).pathname);
  const match =
    /^\/api\/models\/(?<name>.+)\/revision\/(?<revision>.+)$/.exec(path) ??
    /^\/api\/models\/(?<name>.+)\/paths-info\/(?<revision>.+)$/.exec(path) ??
    /^\/(?<name>[^/]+\/[^/]+)\/resolve\/(?<revision>[^/]+)\/(?<file>.+)$/.exec(path);
  const { name = "", revision = "", file } = match?.groups ?? {};
  const repository = repositories[name];
  if (!repository) return refuse(response, 404, "RepoNotFound", "Repository not found");
  if (repository.token !== undefined && request.headers.authorization !== `Bearer ${repository.token}`) {
    return refuse(response, 401, "GatedRepo", "Access is restricted");
  }
  if (!["main", repository.commit].includes(revision)) {
    return refuse(response, 404, "RevisionNotFound", `Invalid rev id: ${revision}`);
  }
  if (file !== undefined) return download(server, repository, file, request, response);
  if (request.method === "POST") return pathsInfo(repository, request, response);
  const siblings = Object.keys(repository.files).map((rfilename) => ({ rfilename }));
  json(response, { _id: "0", id: name, sha: repository.commit, siblings, lastModified: "2024-01-01T00:00:00.000Z" });
}

async function pathsInfo(repository: HubRepository, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = "";
  for await (const piece of request) body += String(piece);
  const { paths } = JSON.parse(body) as { paths: string[] };
  const infos = paths.flatMap((path) => {
    const content = repository.files[path];
    if (!content) return [];
    const gitHash = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
    const lfs =
      content.length >= largeBytes ? { oid: hubEtag(content), size: content.length, pointerSize: 130 } : undefined;
    return [{ type: "file", path, size: content.length, oid: gitHash, lfs }];
  });
  json(response, infos);
}

function download(
  server: HubServer,
  repository: HubRepository,
  file: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const content = repository.files[file];
  if (!content) return refuse(response, 404, "EntryNotFound", "Entry not found");
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  const [start, end] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, content.length];
  let part = Buffer.from(content.subarray(start, end));
  response.setHeader("ETag", `"${hubEtag(content)}"`);
  response.setHeader("X-Repo-Commit", repository.commit);
  response.setHeader("X-Linked-Size", content.length);
  response.setHeader("Content-Length", part.length);
  if (range) response.setHeader("Content-Range", `bytes ${start}-${end - 1}/${content.length}`);
  response.writeHead(range ? 206 : 200);
  if (request.method === "HEAD") return void response.end();
  const isProbe = range !== null && start === 0 && end === 1;
  if (!isProbe) server.ranges.push(request.headers.range ?? null);
  if (!isProbe && server.corrupt && part.length > 0) part[part.length - 1]! ^= 1;
  if (!isProbe && server.breakAfter !== null) {
    part = part.subarray(0, server.breakAfter);
    server.breakAfter = null;
    response.write(part, () => setTimeout(() => response.destroy(), 50));
    return;
  }
  response.end(part);
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, code: string, error: string): void {
  response.writeHead(status, { "Content-Type": "application/json", "X-Error-Code": code });
  response.end(JSON.stringify({ error }));
}
