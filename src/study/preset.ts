import { nearest } from "../config/suggest.js";
import { ConfigError } from "../errors.js";
import type { PresetFile, StudyFile } from "./schema.js";

/** The preset of that name. @throws ConfigError where the study has none of that name, or it changes nothing there is */
export function findPreset({ presets = {}, stages }: StudyFile, name: string, source: string): PresetFile {
  const preset = Object.hasOwn(presets, name) ? presets[name] : undefined;
  if (preset === undefined) {
    const known = Object.keys(presets);
    const near = nearest(name, known);
    throw new ConfigError(`${source} has no preset "${name}"`, {
      hint:
        near !== undefined
          ? `did you mean "${near}"?`
          : known.length > 0
            ? `presets: ${known.join(", ")}`
            : "this study has no presets",
    });
  }
  const recipes = stages.flatMap((stage) => stage.recipes);
  const names = new Set(recipes.map((recipe) => recipe.name));
  const keys = new Set(recipes.flatMap(({ grid = {} }) => Object.keys(grid)));
  const at = `${source}: presets.${name}`;
  for (const recipe of Object.keys(preset.recipes ?? {})) {
    if (!names.has(recipe))
      throw unknown(`${at}.recipes names "${recipe}", but no stage has that recipe`, recipe, names);
  }
  for (const key of Object.keys(preset.grid ?? {})) {
    if (!keys.has(key)) throw unknown(`${at}.grid has "${key}", but no grid of the study has that key`, key, keys);
  }
  return preset;
}

/**
 * Refuses a preset that is for a small model where none is given: it would train the file's own, which is large.
 *
 * @throws ConfigError
 */
export function refuseNoModel({
  preset,
  modelMissing,
  title,
}: {
  preset: string | null;
  modelMissing: boolean;
  title: string;
}): void {
  if (!modelMissing) return;
  throw new ConfigError(`no model is given, which the preset "${preset}" of "${title}" needs`, {
    hint: "name a small one with --model: a folder with config.json, weights and tokenizer, or a hub id",
  });
}

function unknown(message: string, name: string, known: ReadonlySet<string>): ConfigError {
  const near = nearest(name, known);
  const hint = near === undefined ? `there are: ${[...known].join(", ")}` : `did you mean "${near}"?`;
  return new ConfigError(message, { hint });
}
