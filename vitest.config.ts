import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/_temporary-files.ts",
    // Real hosts are started by many suites; two cores carry two workers.
    maxWorkers: 2,
    pool: "forks",
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // What is waited for comes when it comes on a busy machine; no test asserts how long that takes.
    expect: { poll: { timeout: 20_000 } },
  },
});
