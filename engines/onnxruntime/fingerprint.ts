import { createHash } from "node:crypto";
import { WireType } from "@bufbuild/protobuf/wire";
import { eachField, fields, type OnnxNode } from "../../src/models/onnx.ts";

/**
 * SHA-256 over an optimised graph's nodes in order: domain, operator, wiring and attributes. Weights and the names of
 * nodes are left out: two engines with one fingerprint run the same operators in the same order.
 */
export function graphFingerprint(nodes: readonly OnnxNode[]): string {
  const hash = createHash("sha256");
  const add = (part: Uint8Array | string): void => {
    // Length first, so that no two lists of parts run together.
    hash.update(`${part.length}:`);
    hash.update(part);
  };
  for (const node of nodes) {
    add(node.domain);
    add(node.opType);
    eachField(node.raw, (field, reader, type) => {
      if (type !== WireType.LengthDelimited || !hashed.has(field)) return false;
      add(String(field));
      add(reader.bytes());
      return true;
    });
    add("");
  }
  return hash.digest("hex");
}

const hashed: ReadonlySet<number> = new Set([fields.node.input, fields.node.output, fields.node.attribute]);
