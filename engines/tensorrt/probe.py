"""Tells in one line of JSON what this machine can do with TensorRT."""

import json
import subprocess
import sys

import api
from cuda import Cuda, CudaError
from plan import target_of


def main():
    api.use_configured_libraries()
    print(json.dumps({"compilers": {"tensorrt": probe()}}))


def probe():
    try:
        trt = api.import_tensorrt()
        ordinal = api.device_ordinal()
    except api.TensorRTMissing as error:
        return {"available": False, "reason": str(error), "remedy": api.REMEDY}
    # TensorRT itself aborts the process when there is no driver, so the driver is asked first, and TensorRT in a child.
    try:
        device = Cuda(ordinal).describe()
    except CudaError as error:
        return {"available": False, "version": trt.__version__, "reason": str(error), "remedy": "run on a machine with an NVIDIA GPU and its driver"}
    reason = _builder_problem()
    if reason:
        return {"available": False, "version": trt.__version__, "reason": reason, "remedy": api.REMEDY}
    return {
        "available": True,
        "version": trt.__version__,
        "target": target_of(device),
        "device": {"kind": "cuda", **device},
    }


def _builder_problem():
    """Some packages lack the builder's resources for some GPUs, which shows only when a builder is made."""
    program = "import api; trt = api.import_tensorrt(); trt.Builder(api.make_logger(trt)).create_builder_config()"
    try:
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=15, check=False)
    except subprocess.TimeoutExpired:
        return None  # slow is not broken
    if ran.returncode == 0:
        return None
    lines = [line for line in ran.stderr.strip().splitlines() if line.strip()]
    return f"TensorRT cannot make a builder here: {lines[-1] if lines else f'exit {ran.returncode}'}"


if __name__ == "__main__":
    main()
