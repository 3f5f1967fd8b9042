#!/bin/sh
# TensorRT's Python package of one version, in a virtual environment. TARGET is for trying it elsewhere.
set -eu
version=$1
target=${TARGET:-/opt/tensorrt}
python3 -m venv "$target"
"$target/bin/python" -m pip install --no-cache-dir --disable-pip-version-check \
  "tensorrt-cu12==$version" 'numpy<3'
