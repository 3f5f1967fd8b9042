import { afterEach, beforeEach, vi } from "vitest";

/** What the command line has written in this test, instead of writing it; its exit code is put back afterwards. */
export function captureOutput(): { out: string; err: string } {
  const said = { out: "", err: "" };
  beforeEach(() => {
    said.out = said.err = "";
    vi.spyOn(process.stdout, "write").mockImplementation((text) => ((said.out += String(text)), true));
    vi.spyOn(process.stderr, "write").mockImplementation((text) => ((said.err += String(text)), true));
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    process.exitCode = undefined;
  });
  return said;
}
