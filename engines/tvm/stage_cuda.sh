#!/usr/bin/env bash
# stage_cuda.sh FOLDER: packs TVM for CUDA, its libraries and wheels (about 60 MB; Python 3.12) for a GPU machine without a
# network. There, unstage_cuda.sh FOLDER puts them where engines/tvm expects its set-up.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
stage=$(mkdir -p "$1" && cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mvn -B -q -f "$here/pom.xml" -Dflavour=linux-x86_64-gpu \
  org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath -Dmdep.outputFile="$scratch/jars.txt"
tr ':' '\n' < "$scratch/jars.txt" | grep -E '/(tvm|llvm)-[^/]*\.jar$' > "$scratch/wanted.txt"
xargs python3 "$here/unpack.py" "$scratch/relay" < "$scratch/wanted.txt"

wheels=$scratch/wheels
python3 -m pip download -q --no-deps --only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 \
  --platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 --platform any -d "$wheels" \
  numpy==1.26.4 onnx==1.16.2 ml_dtypes==0.4.1 protobuf==5.29.5 attrs cloudpickle decorator psutil tornado typing_extensions \
  nvidia-cuda-runtime-cu12==12.9.79
mkdir -p "$scratch/site"
for wheel in "$wheels"/*.whl; do python3 -m zipfile -e "$wheel" "$scratch/site"; done
cp "$scratch/site/nvidia/cuda_runtime/lib/libcudart.so.12" "$scratch/relay/lib/"
rm -rf "$scratch/site/nvidia" "$scratch/site/numpy/tests" "$scratch/site/onnx/backend/test/data"
python3 "$here/stub_libraries.py" "$scratch/relay" libOpenCL.so.1 libopenblas.so.0 libdnnl.so.2 \
  libcudnn.so.8 libcublas.so.12 libcublasLt.so.12 libnvrtc.so.12
find "$scratch/relay" -name '*.so*' -exec strip --strip-unneeded {} + 2>/dev/null || true
tar -C "$scratch" --exclude=tests --exclude=site/onnx/test --exclude=site/onnx/backend/test --exclude="*.cpp" -cf - relay site |
  nice xz -T2 -6 > "$stage/tvm-cuda.tar.xz"
ls -la "$stage"
