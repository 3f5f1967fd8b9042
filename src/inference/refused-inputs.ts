import { createHash } from "node:crypto";
import type { Tensor } from "../core/tensor.ts";

const mostRemembered = 1024;

/** Inputs that killed two hosts: refused from then on by their hash, and never shadowed. */
export class RefusedInputs {
  #hashes = new Set<string>();

  add(model: string, inputs: readonly Tensor[]): string {
    const hash = hashOf(model, inputs);
    this.#hashes.add(hash);
    // Oldest first out: a bound, so that a flood of bad inputs costs no memory.
    if (this.#hashes.size > mostRemembered) this.#hashes.delete(this.#hashes.values().next().value as string);
    return hash;
  }

  /** Hashes nothing while nothing is refused. */
  match(model: string, inputs: readonly Tensor[]): string | undefined {
    if (this.#hashes.size === 0) return undefined;
    const hash = hashOf(model, inputs);
    return this.#hashes.has(hash) ? hash : undefined;
  }
}

function hashOf(model: string, inputs: readonly Tensor[]): string {
  const hash = createHash("sha256").update(model);
  for (const { name, shape, data } of inputs) hash.update(`\0${name}\0${shape.join(",")}\0`).update(data);
  return hash.digest("hex");
}
