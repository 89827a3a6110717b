import { lockFolder } from "#src/files/lock.js";

/** Run as a process of its own: locks a folder, says so, and holds on until it is ended; says why when it cannot. */
const [folder = ""] = process.argv.slice(2);
try {
  const lock = await lockFolder(folder);
  console.log("locked");
  process.stdin.resume();
  process.stdin.once("end", () => void lock.release());
} catch (error) {
  console.log((error as Error).name);
}
