import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";

/**
 * What decides the rate of bfloat16 products, the best first: the kernel's name of it, ours, and whether libtorch
 * multiplies bfloat16 with it faster than float32.
 */
const instructionSets = [
  ["amx_bf16", "AMX-BF16", true],
  ["avx512_bf16", "AVX512-BF16", true],
  ["avx512f", "AVX512", true],
  ["avx2", "AVX2", false],
];

function instructionSet() {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim().split(/\s+/));
  const [, name = null, multipliesBfloat16 = false] = instructionSets.find(([flag]) => flags.has(flag)) ?? [];
  return { name, multipliesBfloat16 };
}

/** Whether libtorch has products of its own in bfloat16 here. Without, one takes it some forty times as long as in float32. */
export function multipliesBfloat16() {
  return instructionSet().multipliesBfloat16;
}

/** This machine's processor as results are filed under: "AMD EPYC, AVX512-BF16, 2 threads". */
export function describeDevice(threads) {
  const processor = cleaned(cpus()[0]?.model ?? "unknown processor");
  const found = instructionSet().name;
  const name = [processor, ...(found ? [found] : []), `${threads} ${threads === 1 ? "thread" : "threads"}`].join(", ");
  return {
    name,
    fileName: name
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, "-")
      .replaceAll(/^-|-$/g, ""),
    processor,
    instructionSet: found,
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
