// `npm run quickstart`: set-up, then a small real study with a report.
import { run } from "./setup/run.mjs";
import { main, setUp } from "./setup/set-up.mjs";

await main(async () => {
  await setUp();
  const study = ["dist/cli.js", "study", "configs/quickstart/study.json", "--output", "runs/quickstart", "--replan"];
  process.exitCode = await run(process.execPath, study, { stdio: "inherit" });
});
