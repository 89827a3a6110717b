import pc from "picocolors";

export type Colors = ReturnType<typeof pc.createColors>;

/** What humans read, on stderr: results alone go to stdout. */
export interface Terminal {
  /** True where the status is drawn in place: on a terminal, and not with --quiet. */
  readonly live: boolean;
  readonly colors: Colors;
  /** Columns that a line of the status may take. */
  readonly width: number;
  /** A line that stays. */
  line(text?: string): void;
  /** A line that stays, marked as a warning. */
  warn(text: string): void;
  /** Draws `text`, of one or more lines, below everything else, in the place of what it drew before; only where live. */
  status(text: string): void;
  /** Takes the status away. */
  clear(): void;
}

export interface TerminalOptions {
  /** No lines and no status. */
  quiet?: boolean | undefined;
  /** Standard error, but for tests. */
  stream?: NodeJS.WriteStream | undefined;
  env?: NodeJS.ProcessEnv | undefined;
}

/** Every terminal of this process, for `clearStatus`. */
const opened = new Set<Terminal>();

/** Takes every status away, so that an error message stands on a line of its own. */
export function clearStatus(): void {
  for (const terminal of opened) terminal.clear();
}

/** For terminals that do not tell their size, or tell 0 by 0, as serial lines and some containers do. */
const usualSize = { columns: 80, rows: 24 };

/** Fast enough to look alive, slow enough to cost nothing. */
const redrawMs = 100;

/** Colors for results on stdout. */
export function outputColors(
  stream: NodeJS.WriteStream = process.stdout,
  env: NodeJS.ProcessEnv = process.env,
): Colors {
  return pc.createColors(wantsColor(isCapable(stream, env), env));
}

export async function openTerminal(options: TerminalOptions = {}): Promise<Terminal> {
  const { quiet = false, stream = process.stderr, env = process.env } = options;
  const live = isCapable(stream, env) && !quiet;
  const colors = outputColors(stream, env);
  const draw = live ? (await import("log-update")).createLogUpdate(withSize(stream)) : null;
  let status = "";
  let drawnAt = -Infinity;
  const terminal: Terminal = {
    live,
    colors,
    get width() {
      return (stream.columns || usualSize.columns) - 1;
    },
    line(text = "") {
      if (quiet) return;
      draw?.clear();
      stream.write(`${text}\n`);
      if (status !== "") draw?.(status);
    },
    warn(text) {
      terminal.line(`${colors.yellow("warning:")} ${text}`);
    },
    status(text) {
      status = text;
      const now = performance.now();
      if (draw === null || now - drawnAt < redrawMs) return;
      drawnAt = now;
      draw(text);
    },
    clear() {
      status = "";
      drawnAt = -Infinity;
      draw?.clear();
      draw?.done();
    },
  };
  opened.add(terminal);
  return terminal;
}

/** The stream for log-update, which draws nothing on 0 rows. */
function withSize(stream: NodeJS.WriteStream): NodeJS.WriteStream {
  return new Proxy(stream, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (key === "columns" || key === "rows") return value || usualSize[key];
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

function isCapable(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && env["TERM"] !== "dumb";
}

/** NO_COLOR (no-color.org) wins over FORCE_COLOR; else colors are for terminals. */
function wantsColor(capable: boolean, env: NodeJS.ProcessEnv): boolean {
  if (env["NO_COLOR"]) return false;
  return capable || (env["FORCE_COLOR"] !== undefined && env["FORCE_COLOR"] !== "0");
}
