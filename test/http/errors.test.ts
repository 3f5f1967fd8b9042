import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { errorTable, GatewayError, type ErrorCode } from "../../src/core/errors.ts";
import { errorReply } from "../../src/http/errors.ts";

describe("errors", () => {
  it("are documented as they are", () => {
    const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
    const rows = page
      .split("\n")
      .filter((line) => /^\| \w+ \| \d{3} \|/.test(line))
      .map((line) =>
        line
          .split("|")
          .map((cell) => cell.trim())
          .slice(1, 4),
      );
    const table = Object.entries(errorTable).map(([code, { status, meaning }]) => [
      code,
      String(status),
      meaning,
    ]);
    expect(rows).toEqual(table);
  });

  it.each(Object.keys(errorTable) as ErrorCode[])("%s has its status and a JSON body", (code) => {
    const { status, headers, body } = errorReply(new GatewayError(code, 'it "broke"\n'));
    expect(status).toBe(errorTable[code].status);
    expect(headers["content-type"]).toBe("application/json");
    expect(JSON.parse(body)).toEqual({ error: 'it "broke"\n' });
  });
});
