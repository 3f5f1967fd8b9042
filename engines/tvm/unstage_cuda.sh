#!/usr/bin/env bash
# unstage_cuda.sh FOLDER: sets engines/tvm up from what stage_cuda.sh packed. Needs Python 3.12 and nvcc on PATH.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$here/.runtime" "$here/.venv"
rm -rf "$here/.runtime/relay" "$here/.runtime/site" "$here/.venv/relay"
tar -C "$here/.runtime" -xJf "$1/tvm-cuda.tar.xz"
python3.12 -m venv --without-pip "$here/.venv/relay" 2>/dev/null || python3 -m venv --without-pip "$here/.venv/relay"
packages=$("$here/.venv/relay/bin/python" -c 'import site; print(site.getsitepackages()[0])')
cp -r "$here/.runtime/site/." "$packages"
rm -rf "$here/.runtime/site"
# TVM imports parts of scipy for things that are not done here; scipy itself is 100 MB.
mkdir -p "$packages/scipy"
touch "$packages/scipy/__init__.py"
for part in sparse special stats signal; do echo 'def __getattr__(name): return None' > "$packages/scipy/$part.py"; done
echo "$here/.runtime/relay/python" > "$packages/crosscheck_tvm.pth"
echo staged > "$here/.runtime/relay/stamp"
cd "$here/.runtime"
LD_LIBRARY_PATH=$here/.runtime/relay/lib TOPHUB_LOCATION=NONE "$here/.venv/relay/bin/python" -c '
import tvm, tvm.relay, tvm.autotvm, tvm.auto_scheduler
print("TVM", tvm.__version__, "CUDA device:", tvm.cuda(0).exist and tvm.cuda(0).device_name)'
