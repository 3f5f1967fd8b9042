import { expect, test } from "vitest";
import { HostLostError } from "../../src/core/engine.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { decodeError, encodeError } from "../../src/core/sent-error.ts";

test.each([
  new HostLostError("hung", "no answer"),
  new GatewayError("busy", "full", { retryAfterSeconds: 2, engine: "e" }),
  new GatewayError("conflict", "cannot", { cause: new HostLostError("exited", "gone") }),
  new RangeError("beyond"),
])("an error is the same behind a thread's border: %s", (error) => {
  const back = decodeError(structuredClone(encodeError(error)));
  expect({ ...back, message: back.message, stack: back.stack }).toEqual({
    ...error,
    message: error.message,
    stack: error.stack,
  });
  expect(back.cause).toEqual(error.cause);
  expect(back).toBeInstanceOf(error instanceof RangeError ? Error : Object.getPrototypeOf(error).constructor);
});

test("what is thrown and no error becomes one", () => {
  expect(decodeError(encodeError("words"))).toEqual(new Error("words"));
});
