import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";

/** What decides the rate of bfloat16 products, the best first: the kernel's name of it and ours. */
const instructionSets = [
  ["amx_bf16", "AMX-BF16"],
  ["avx512_bf16", "AVX512-BF16"],
  ["avx512f", "AVX512"],
  ["avx2", "AVX2"],
];

/** This machine's processor as results are filed under: "AMD EPYC, AVX512-BF16, 2 threads". */
export function describeDevice(threads) {
  const processor = cleaned(cpus()[0]?.model ?? "unknown processor");
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim().split(/\s+/));
  const found = instructionSets.find(([flag]) => flags.has(flag))?.[1];
  const name = [processor, ...(found ? [found] : []), `${threads} ${threads === 1 ? "thread" : "threads"}`].join(", ");
  return {
    name,
    fileName: name
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, "-")
      .replaceAll(/^-|-$/g, ""),
    processor,
    instructionSet: found ?? null,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
}

/** Without marks, clock rates and what a processor is said to be with. */
function cleaned(model) {
  return model
    .replaceAll(/\((r|tm|c)\)/gi, "")
    .replace(/\s+(@|with\b).*$/, "")
    .replaceAll(/\b(\d+-core|processor|cpu)\b/gi, "")
    .replaceAll(/\s+/g, " ")
    .trim();
}
