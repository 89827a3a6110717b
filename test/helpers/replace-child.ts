import { writeFileAtomic, replaceFolder } from "#src/files/atomic.js";
import { join } from "node:path";

/** Run as a process of its own until it is killed: replaces a folder again and again, each time by two equal files. */
const [folder = ""] = process.argv.slice(2);
for (let version = 1; ; version++) {
  await replaceFolder(folder, async (temporary) => {
    await writeFileAtomic(join(temporary, "first"), String(version));
    await writeFileAtomic(join(temporary, "second"), String(version));
  });
  if (version === 1) console.log("begun");
}
