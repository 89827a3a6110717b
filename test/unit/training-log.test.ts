import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { OutputError, StateError } from "#src/errors.js";
import { RunLog } from "#src/training/log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

test("a line is in the file as soon as it is appended", (t) => {
  const path = join(temporaryFolder(t), "log.jsonl");
  using log = new RunLog(path, 0);
  log.append({ step: 1 });
  t.is(readFileSync(path, "utf8"), '{"step":1}\n');
});

test("a resumed log is cut back to where the state was saved, and goes on there", (t) => {
  const path = join(temporaryFolder(t), "log.jsonl");
  let bytes: number;
  {
    using log = new RunLog(path, 0);
    log.append({ step: 1 });
    bytes = log.flush();
    log.append({ step: 2, note: "lost with the process" });
  }
  appendFileSync(path, '{"step":3,"no'); // half a line, as a kill may leave it
  using log = new RunLog(path, bytes);
  log.append({ step: 2 });
  t.is(readFileSync(path, "utf8"), '{"step":1}\n{"step":2}\n');
});

test("a fresh log replaces an old one", (t) => {
  const path = join(temporaryFolder(t), "log.jsonl");
  appendFileSync(path, "old\n");
  using log = new RunLog(path, 0);
  log.append({});
  t.is(readFileSync(path, "utf8"), "{}\n");
});

test("a log that is shorter than the state says is refused", (t) => {
  const path = join(temporaryFolder(t), "log.jsonl");
  appendFileSync(path, "short\n");
  t.throws(() => new RunLog(path, 100), { instanceOf: StateError, message: /log\.jsonl has 6 bytes, but 100/ });
  t.throws(() => new RunLog(join(path, "../gone.jsonl"), 100), { instanceOf: StateError });
});

test("a log in a folder that is not there cannot be written", (t) => {
  t.throws(() => new RunLog(join(temporaryFolder(t), "no/log.jsonl"), 0), { instanceOf: OutputError });
});
