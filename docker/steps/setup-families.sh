#!/bin/sh
# Sets up the given compilers inside engines/. The whole of Python's and Maven's caches stays out of the layer.
set -eu
cd "$(dirname "$0")/../.."
PIP_NO_CACHE_DIR=1 node docker/crosscheck.mjs setup "$@"
rm -rf "${HOME:-/root}/.m2" "${HOME:-/root}/.cache"
