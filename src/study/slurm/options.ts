import type { FromSchema } from "json-schema-to-ts";

/** One line of an sbatch script: a line break would begin another one. */
const line = { type: "string", minLength: 1, pattern: "^[^\\n\\r]+$" } as const;

const lines = { type: "array", items: line } as const;

/** The key `executor` of a study file: where trials run, and what a cluster is asked for. */
export const executorSchema = {
  type: "object",
  properties: {
    name: { enum: ["local", "slurm"], description: "This machine, or array jobs of a Slurm cluster." },
    partition: { ...line, description: "sbatch --partition." },
    account: { ...line, description: "sbatch --account." },
    qos: { ...line, description: "sbatch --qos." },
    gres: { ...line, description: 'sbatch --gres, such as "gpu:1".' },
    time: { ...line, description: 'sbatch --time of an array task, such as "4:00:00".' },
    memory: { ...line, description: 'sbatch --mem, such as "16G".' },
    options: { ...lines, description: 'Any other options of sbatch, such as "--constraint=a100".' },
    modules: { ...lines, description: "What `module load` loads first." },
    setup: { ...lines, description: "Lines of bash that run first, such as `source ~/env.sh`." },
    parallel: {
      type: "integer",
      minimum: 1,
      description: "How many array tasks run side by side; all when not given.",
    },
    trialsPerTask: {
      type: "integer",
      minimum: 1,
      description: "Trials that an array task runs one after the other (default: 1, more where trials are short).",
    },
  },
  required: ["name"],
  additionalProperties: false,
} as const;

export type ExecutorConfig = FromSchema<typeof executorSchema>;
export type SlurmOptions = Omit<ExecutorConfig, "name">;
