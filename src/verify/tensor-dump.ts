import { writeSafetensors, type TensorSource } from "../models/safetensors.js";

/** Computed tensors by name, written as one safetensors file for programs of the reader's own. */
export class TensorDump {
  readonly #tensors = new Map<string, TensorSource>();

  add(name: string, shape: readonly number[], values: Float32Array): void {
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    this.#tensors.set(name, { dtype: "F32", shape, data });
  }

  async write(path: string): Promise<void> {
    await writeSafetensors(path, this.#tensors);
  }
}
