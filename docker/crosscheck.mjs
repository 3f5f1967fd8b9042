// The command line in an image: bin/crosscheck.mjs less its set-up, since an image is set up and read-only.
import { main } from "../dist/src/main.js";

await main(process.argv.slice(2));
