import { expect, test } from "vitest";
import { HostLostError } from "../../src/core/engine.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { decodeError, encodeError } from "../../src/core/sent-error.ts";

test.each([
  [HostLostError, new HostLostError("hung", "no answer")],
  [GatewayError, new GatewayError("busy", "full", { retryAfterSeconds: 2, engine: "e" })],
  [GatewayError, new GatewayError("conflict", "cannot", { cause: new HostLostError("exited", "gone") })],
  [Error, new Error("beyond")],
])("an error is the same behind a thread's border: %o", (kind, expected) => {
  const back = decodeError(structuredClone(encodeError(expected)));
  for (const field of ["name", "message", "stack", "reason", "code", "retryAfterSeconds", "engine", "cause"])
    expect(Reflect.get(back, field), field).toEqual(Reflect.get(expected, field));
  expect(back).toBeInstanceOf(kind);
});

test("what is thrown and no error becomes one", () => {
  expect(decodeError(encodeError("words"))).toEqual(new Error("words"));
});
