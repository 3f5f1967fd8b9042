#!/bin/sh
# TypeScript to dist/, file by file.
set -eu
node node_modules/typescript/bin/tsc -p tsconfig.build.json
