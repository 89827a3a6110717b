import eslint from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

/** Each folder of src/ imports only from those before it, and from errors.ts and files/ (docs/decisions/import-order.md). */
const order = [
  "random",
  "config",
  "native",
  "models",
  "tokenizer",
  "data",
  "metrics",
  "methods",
  "stats",
  "training",
  "verify",
  "study",
  "report",
  "cli",
];

function forbid(folder, later) {
  return {
    files: [`src/${folder}/**/*.ts`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            {
              regex: `^(\\.\\./)+(${later.join("|")})(/|\\.js$)`,
              message: `src/${folder} imports only from the folders before it.`,
            },
          ],
        },
      ],
    },
  };
}

export default defineConfig(
  globalIgnores(["build/", "build-*/", "dist/", "dist-test/", "prebuilds/", "runs/", "test/fixtures/"]),
  eslint.configs.recommended,
  {
    files: ["**/*.mjs", "**/*.js"],
    languageOptions: {
      globals: Object.fromEntries(
        ["console", "performance", "process", "Buffer", "URL", "fetch", "setTimeout", "clearTimeout"].map((name) => [
          name,
          "readonly",
        ]),
      ),
    },
  },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strict, tseslint.configs.stylistic],
    languageOptions: { parserOptions: { project: ["./tsconfig.json", "./test/tsconfig.json"] } },
    rules: {
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/no-dynamic-delete": "off",
      "@typescript-eslint/no-empty-function": "off",
      // With noUncheckedIndexedAccess a loop over a typed array cannot be written without.
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true, varsIgnorePattern: "^_" }],
      // Takes a constructor that narrows its parent's parameters for useless.
      "@typescript-eslint/no-useless-constructor": "off",
      "@typescript-eslint/prefer-for-of": "off",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/no-unnecessary-type-assertion": "error",
      "@typescript-eslint/return-await": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      eqeqeq: "error",
    },
  },
  ...order.map((folder, index) => forbid(folder, [...order.slice(index + 1), "index"])),
  forbid("files", [...order, "index"]),
);
