#!/usr/bin/env node
// The command line. Sets up packages and build first when they are missing or stale, then hands over.
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { root, setup } from "../scripts/setup.mjs";

await setup();
const { main } = await import(pathToFileURL(join(root, "dist/src/main.js")).href);
await main(process.argv.slice(2));
