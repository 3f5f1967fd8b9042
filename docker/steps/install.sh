#!/bin/sh
# The packages of package-lock.json, those of the build included. Not `npm ci`: it refuses a lock file in which another
# platform's optional binaries are missing.
set -eu
npm install --no-fund --no-audit --loglevel=error
