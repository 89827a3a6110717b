import test from "ava";
import { completeConfig } from "#src/config/resolve.js";
import { scheduleFactor, stepsPerEpoch, totalSteps } from "#src/training/schedule.js";

/** Rows of the official training files. */
const trainRows: Record<string, number> = { RTE: 2490, MRPC: 3668, "STS-B": 5749, CoLA: 8551 };

interface Row {
  learningRate: number;
  steps: number;
  batchSize: number;
  warmupSteps: number;
}

const row = (learningRate: number, steps: number, batchSize: number, warmupSteps: number): Row => ({
  learningRate,
  steps,
  batchSize,
  warmupSteps,
});

/** Table 6 of the paper. ELECTRA's lengths are epochs there, and its warm-up a tenth. */
const table6: Record<string, Row> = {
  "xlnet-rte": row(3e-5, 800, 32, 200),
  "xlnet-mrpc": row(5e-5, 800, 32, 200),
  "xlnet-sts-b": row(5e-5, 3000, 32, 500),
  "xlnet-cola": row(3e-5, 1200, 128, 120),
  "roberta-rte": row(2e-5, 2036, 16, 122),
  "roberta-mrpc": row(1e-5, 2296, 16, 137),
  "roberta-sts-b": row(2e-5, 3598, 16, 214),
  "roberta-cola": row(1e-5, 5336, 16, 320),
  "electra-rte": row(5e-5, 10 * 78, 32, 78),
  "electra-mrpc": row(5e-5, 3 * 115, 32, 34),
  "electra-sts-b": row(5e-5, 10 * 180, 32, 180),
  "electra-cola": row(5e-5, 3 * 268, 32, 80),
  "bart-rte": row(1e-5, 1018, 32, 61),
  "bart-mrpc": row(2e-5, 1148, 64, 68),
  "bart-sts-b": row(2e-5, 1799, 32, 107),
  "bart-cola": row(2e-5, 1334, 64, 80),
};

for (const [name, wanted] of Object.entries(table6)) {
  test(`${name} has the learning rate, steps, batch and warm-up of the paper's Table 6`, (t) => {
    const config = completeConfig({ extends: name });
    const { task = "", batchSize, optimizer } = config;
    t.is(name.slice(name.indexOf("-") + 1), task.toLowerCase());
    const steps = totalSteps(config, stepsPerEpoch(trainRows[task] ?? NaN, batchSize));
    // The peak is reached when the warm-up has ended.
    const factors = Array.from({ length: steps }, (_, step) => scheduleFactor(step, steps, optimizer.warmup));
    const warmupSteps = factors.indexOf(1);
    t.deepEqual({ learningRate: optimizer.learningRate, steps, batchSize, warmupSteps }, wanted);
    const llrd = name.startsWith("electra-") ? [{ name: "llrd", decay: 0.9 }] : [];
    t.deepEqual(config.methods, llrd);
    t.like(config, { maxLength: 128, evaluations: 10, protocol: "paper" });
    // The dropout of each model's own config stays in force.
    t.false("dropout" in config);
  });
}

test("recipes named after methods hold the values of the released code's sample commands", (t) => {
  t.deepEqual(completeConfig({ extends: ["paper", "reinit"] }), {
    ...completeConfig({ extends: "paper" }),
    methods: [{ name: "reinit", layers: 5 }],
  });
  t.deepEqual(completeConfig({ extends: "llrd" }).methods, [{ name: "llrd", decay: 0.95 }]);
  t.is(completeConfig({ extends: "llrd" }).optimizer.learningRate, 2e-5);
  t.deepEqual(completeConfig({ extends: "pretrained-weight-decay" }).methods, [
    { name: "pretrained-weight-decay", lambda: 1e-3 },
  ]);
  t.is(completeConfig({ extends: "longer" }).steps, 400);
  t.deepEqual(completeConfig({ extends: "mixout" }).methods, [{ name: "mixout", p: 0.1 }]);
});

test("a method's recipe on top of another changes nothing but its method", (t) => {
  const { methods: _, ...xlnet } = completeConfig({ extends: "xlnet-rte" });
  for (const name of ["reinit", "llrd", "mixout", "pretrained-weight-decay"]) {
    const { methods, ...rest } = completeConfig({ extends: ["xlnet-rte", name] });
    t.deepEqual(rest, xlnet, name);
    t.is(methods.length, 1);
  }
  const longer = completeConfig({ extends: ["longer", "reinit"] });
  t.is(longer.steps, 400);
});
