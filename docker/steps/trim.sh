#!/bin/sh
# Leaves what runs: no packages of the build, and of ONNX Runtime this platform's libraries only (220 MB less).
set -eu
npm prune --omit=dev --no-fund --no-audit --loglevel=error
platform=$(node -p process.platform)
arch=$(node -p process.arch)
for folder in node_modules/onnxruntime-node/bin/napi-v*/*; do
  [ "$(basename "$folder")" = "$platform" ] || rm -rf "$folder"
done
for folder in node_modules/onnxruntime-node/bin/napi-v*/"$platform"/*; do
  [ "$(basename "$folder")" = "$arch" ] || rm -rf "$folder"
done
rm -rf node_modules/.cache
