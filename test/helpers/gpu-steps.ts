// A few training steps on the GPU, recorded ones among them, and a forward pass: what compute-sanitizer watches.
import { batchOf, gpuShape, lengthsOf, randomSession } from "./gpu.js";
import { stepOptions } from "./plan.js";

for (const dtype of ["float32", "bfloat16"] as const) {
  const shape = { ...gpuShape, layers: 2, vocabularySize: 200 };
  await using session = await randomSession("cuda", { shape, dtype });
  for (let step = 1; step <= 4; step++) {
    const batch = batchOf(shape, lengthsOf(119, 5, step), step);
    const { finite } = await session.train([batch], stepOptions({ step }));
    if (!finite) throw new Error(`step ${step} in ${dtype} is not finite`);
  }
  await session.forward(batchOf(shape, [3, 77, 1], 0));
}
