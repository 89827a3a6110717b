import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { SetupError } from "../setup/setup-error.mjs";

/**
 * A program that measures on request: it prints one JSON line when it is ready, and one for each line that it reads,
 * until its input ends. It waits in between, so that several of them can take turns.
 */
export class Side {
  #child;
  #lines;
  #ended;
  #what;

  /** @returns {Promise<{ side: Side, ready: object }>} */
  static async start(command, args) {
    const side = new Side();
    side.#what = `\`${command} ${args[0]}\``;
    side.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    side.#ended = new Promise((resolve, reject) => {
      side.#child.once("error", reject);
      side.#child.once("close", resolve);
    });
    side.#lines = createInterface({ input: side.#child.stdout })[Symbol.asyncIterator]();
    try {
      return { side, ready: await side.#answer() };
    } catch (error) {
      side.stop();
      throw error;
    }
  }

  /** @param {string} request one line */
  ask(request) {
    this.#child.stdin.write(`${request}\n`);
    return this.#answer();
  }

  async #answer() {
    const { value, done } = await this.#lines.next();
    if (!done) return JSON.parse(value);
    throw new SetupError(`${this.#what} ended with code ${await this.#ended}.`, "Its own message stands above.");
  }

  /** Lets the program end by itself. */
  async close() {
    this.#child.stdin.end();
    await this.#ended;
  }

  stop() {
    this.#child.kill();
  }
}

/** The other end: answers every line of standard input by `handlers[first word](other words)`. */
export async function serve(ready, handlers) {
  const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
  print(ready);
  for await (const line of createInterface({ input: process.stdin })) {
    const [request, ...words] = line.split(" ");
    print(await handlers[request](...words));
  }
}
