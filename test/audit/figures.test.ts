import { expect, it } from "vitest";
import { plain } from "../../src/audit/report/figures.ts";

it("gives three significant digits, small thresholds and shares of alpha included", () => {
  expect(
    [0.001, 0.0035, 0.00357142, 0.25, 1.05, 1.2345, 3, 12.34, 1234.5, 0.00012, 2e6 + 0.5].map(plain),
  ).toEqual(["0.001", "0.0035", "0.00357", "0.25", "1.05", "1.23", "3", "12.3", "1235", "1.2e-4", "2.0e+6"]);
  expect(plain(null)).toBe("-");
});
