import { main } from "../../../src/cli/main.ts";

/** `crosscheck serve` from source, without the build that bin/crosscheck.mjs would do first. */
await main(["serve", ...process.argv.slice(2)]);
