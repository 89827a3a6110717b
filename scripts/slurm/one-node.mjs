// A real Slurm of one node on loopback, for tests and for trying things out:
//   node scripts/slurm/one-node.mjs            starts it, prints its settings as a line of JSON, stops when stdin ends
//   node scripts/slurm/one-node.mjs -- COMMAND runs a command inside of it, and exits with that command's status
//
// It needs Slurm and munge on this machine (Debian: apt-get install --no-install-recommends slurm-wlm munge), no
// rights, no systemd and no accounts. Everything lies in a temporary folder; the ports are free ones, so that several
// can run side by side. Node and GPUs are stand-ins: 4 CPUs whatever the machine has, and two GPUs that are /dev/null
// and /dev/zero.
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { stderr, stdin, stdout } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const startMs = 30_000;
/** Slurm kills a job that ignores TERM after KillWait, 3 s; then the daemons have nothing left to do. */
const drainMs = 15_000;
const stopMs = 5_000;

/** Where Debian keeps daemons, which is not on every user's PATH. */
const path = [process.env.PATH ?? "", "/usr/sbin", "/sbin"].join(delimiter);

/** The programs that are missing here; empty when a Slurm can be started. */
export function missingPrograms() {
  const folders = path.split(delimiter);
  return ["munged", "slurmctld", "slurmd", "sbatch"].filter(
    (name) => !folders.some((folder) => existsSync(join(folder, name))),
  );
}

/**
 * Starts munged, slurmctld and slurmd as children of this process and waits until the node is idle.
 *
 * @param {{maxArraySize?: number}} options
 * @returns {Promise<{folder: string, conf: string, jobLog: string, stop: () => Promise<void>}>} `conf` belongs into
 *   SLURM_CONF; `jobLog` has a line for every job that ended; `stop` cancels what runs and ends the daemons.
 */
export async function startOneNode({ maxArraySize = 1001 } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "steadytune-slurm-"));
  // munged insists that everybody can reach its socket.
  chmodSync(folder, 0o755);
  const conf = join(folder, "slurm.conf");
  const daemons = [];
  const env = { ...process.env, PATH: path, SLURM_CONF: conf };
  const start = (command, ...args) => {
    const output = openSync(join(folder, `${command}.out`), "w");
    // In groups of their own, Ctrl-C leaves them alone: they end in the order in which that is clean.
    const child = spawn(command, args, { env, stdio: ["ignore", output, output], detached: true });
    const daemon = { name: command, child };
    daemon.gone = new Promise((resolve) => {
      daemon.child.once("error", resolve);
      daemon.child.once("exit", resolve);
    });
    daemons.push(daemon);
    return daemon;
  };
  const slurm = (command, ...args) => spawnSync(command, args, { env, encoding: "utf8", timeout: stopMs });

  const stop = async () => {
    // A stopped slurmd leaves its jobs running.
    if (daemons.length > 1 && slurm("sinfo", "-h").status === 0) {
      slurm("scancel", "--user", userInfo().username);
      const end = performance.now() + drainMs;
      while (performance.now() < end && slurm("squeue", "-h").stdout?.trim()) await sleep(200);
    }
    for (const daemon of daemons.reverse()) {
      daemon.child.kill("SIGTERM");
      await Promise.race([daemon.gone, sleep(stopMs, undefined, { ref: false })]);
      daemon.child.kill("SIGKILL");
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };

  try {
    mkdirSync(join(folder, "state"));
    mkdirSync(join(folder, "spool"));
    writeFileSync(join(folder, "munge.key"), randomBytes(128), { mode: 0o600 });
    writeFileSync(conf, configuration(folder, await freePorts(2), maxArraySize));
    writeFileSync(join(folder, "gres.conf"), gpus.map((file) => `NodeName=localhost Name=gpu File=${file}\n`).join(""));

    const socket = join(folder, "munge.sock");
    const munge = { "key-file": "munge.key", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "seed" };
    const files = Object.entries(munge).map(([option, name]) => `--${option}=${join(folder, name)}`);
    start("munged", "-F", `--socket=${socket}`, "--num-threads=2", ...files);
    const end = performance.now() + startMs;
    const until = async (isReady) => {
      while (!isReady()) {
        const dead = daemons.find(({ child }) => child.exitCode !== null || child.signalCode !== null);
        if (dead !== undefined || performance.now() > end) throw new Error(reason(folder, dead?.name));
        await sleep(100);
      }
    };
    await until(() => existsSync(socket));
    start("slurmctld", "-D", "-i");
    start("slurmd", "-D", "-N", "localhost");
    await until(() => slurm("sinfo", "-h", "-o", "%T").stdout?.trim() === "idle");
  } catch (error) {
    await stop();
    throw error;
  }
  return { folder, conf, jobLog: join(folder, "jobs.log"), stop };
}

const gpus = ["/dev/null", "/dev/zero"];

function configuration(folder, [controlPort, nodePort], maxArraySize) {
  const user = userInfo().username;
  return `${[
    "ClusterName=steadytune",
    "SlurmctldHost=localhost",
    `SlurmctldPort=${controlPort}`,
    `SlurmdPort=${nodePort}`,
    `SlurmUser=${user}`,
    `SlurmdUser=${user}`,
    "AuthType=auth/munge",
    "CredType=cred/munge",
    `AuthInfo=socket=${folder}/munge.sock`,
    "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
    `StateSaveLocation=${folder}/state`,
    `SlurmdSpoolDir=${folder}/spool`,
    `SlurmctldPidFile=${folder}/slurmctld.pid`,
    `SlurmdPidFile=${folder}/slurmd.pid`,
    `SlurmctldLogFile=${folder}/slurmctld.log`,
    `SlurmdLogFile=${folder}/slurmd.log`,
    "ProctrackType=proctrack/pgid",
    "TaskPlugin=task/none",
    "JobCompType=jobcomp/filetxt",
    `JobCompLoc=${folder}/jobs.log`,
    // Slurm spares itself work by acting every few seconds only; a test wants it at once.
    "SchedulerParameters=batch_sched_delay=0,sched_min_interval=1,bf_interval=1",
    "SelectType=select/cons_tres",
    "SelectTypeParameters=CR_CPU_Memory",
    "PropagateResourceLimits=NONE",
    "ReturnToService=2",
    "MinJobAge=300",
    "KillWait=3",
    `MaxArraySize=${maxArraySize}`,
    "SlurmdParameters=config_overrides",
    "GresTypes=gpu",
    `NodeName=localhost NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 Gres=gpu:${gpus.length} State=UNKNOWN`,
    "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=100 State=UP",
    "",
  ].join("\n")}`;
}

/** Ports that nobody listens on now; another program could be quicker, but hardly ever is. */
async function freePorts(number) {
  const servers = await Promise.all(
    Array.from(
      { length: number },
      () =>
        new Promise((resolve, reject) => {
          const server = createServer();
          server.once("error", reject);
          server.listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Why it did not start: what the daemons wrote last. */
function reason(folder, dead) {
  const logs = ["munged", "slurmctld", "slurmd"].flatMap((name) =>
    [`${name}.out`, `${name}.log`].flatMap((file) => {
      const log = join(folder, file);
      const text = existsSync(log) ? readFileSync(log, "utf8").trim() : "";
      return text === "" ? [] : [`${file}:`, ...text.split("\n").slice(-8)];
    }),
  );
  const what = dead === undefined ? `Slurm was not ready within ${startMs / 1000} s` : `${dead} has ended`;
  return [what, ...logs].join("\n");
}

async function main(args) {
  const { values, positionals: command } = parseArgs({
    args,
    options: { "max-array-size": { type: "string" } },
    allowPositionals: true,
  });
  const missing = missingPrograms();
  if (missing.length > 0) {
    stderr.write(`no ${missing.join(", ")} here; Debian: apt-get install --no-install-recommends slurm-wlm munge\n`);
    return 1;
  }
  const slurm = await startOneNode({ maxArraySize: Number(values["max-array-size"] ?? 1001) });
  try {
    if (command.length > 0) {
      const child = spawn(command[0], command.slice(1), {
        env: { ...process.env, SLURM_CONF: slurm.conf },
        stdio: "inherit",
      });
      for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
      return await new Promise((resolve, reject) => {
        child.once("error", reject);
        child.once("exit", (code) => resolve(code ?? 1));
      });
    }
    stdout.write(`${JSON.stringify({ folder: slurm.folder, conf: slurm.conf, jobLog: slurm.jobLog })}\n`);
    await new Promise((resolve) => {
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, resolve);
      // A parent that is killed closes it too.
      stdin.once("close", resolve).once("error", resolve).resume();
    });
    return 0;
  } finally {
    await slurm.stop();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
  stdin.destroy();
}
