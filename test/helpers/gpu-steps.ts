// A few training steps on the device that is named, recorded ones among them on a GPU, and a forward pass: what
// compute-sanitizer watches. No part of AVA may be imported here.
import { batchOf, gpuShape, lengthsOf, randomSession } from "./gpu.js";
import { stepOptions } from "./plan.js";

const [device] = process.argv.slice(2);
if (device !== "cpu" && device !== "cuda") throw new Error("usage: gpu-steps.js cpu|cuda");

for (const dtype of ["float32", "bfloat16"] as const) {
  const shape = { ...gpuShape, layers: 2, vocabularySize: 200 };
  await using session = await randomSession(device, { shape, dtype });
  for (let step = 1; step <= 4; step++) {
    const batch = batchOf(shape, lengthsOf(119, 5, step), step);
    const { finite } = await session.train([batch], stepOptions({ step }));
    if (!finite) throw new Error(`step ${step} in ${dtype} is not finite`);
  }
  await session.forward(batchOf(shape, [3, 77, 1], 0));
}
