"""Finds the official TensorRT Python API, 8.6 to 10.x, and hides the few places where its versions differ."""

import os
import sys

OLDEST, NEWEST = (8, 6), (10, 99)
LIBRARIES_SETTING = "CROSSCHECK_TENSORRT_LIBRARIES"
DEVICE_SETTING = "CROSSCHECK_TENSORRT_DEVICE"
REMEDY = (
    "install NVIDIA's tensorrt Python package (on a Jetson: JetPack's python3-libnvinfer), or name a Python that has it in"
    f" CROSSCHECK_TENSORRT_PYTHON and, if its libraries lie apart, their folder in {LIBRARIES_SETTING}"
)


class TensorRTMissing(RuntimeError):
    """TensorRT is not here, or not one of the versions that this family knows."""


def use_configured_libraries():
    """Starts this program anew with the configured library folders on the loader's path.

    The loader reads LD_LIBRARY_PATH once, when a process starts, and libnvinfer opens its builder resources by name
    long after; so setting the variable from within is too late. Descriptors and the parent-death signal survive.
    """
    wanted = [folder for folder in os.environ.get(LIBRARIES_SETTING, "").split(":") if folder]
    present = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    if all(folder in present for folder in wanted):
        return
    os.environ["LD_LIBRARY_PATH"] = ":".join([*wanted, *(folder for folder in present if folder and folder not in wanted)])
    os.execv(sys.executable, [sys.executable, *sys.argv])


def import_tensorrt():
    """The module, under either of its names: `tensorrt`, or `tensorrt_bindings` where only the bindings are installed."""
    failures = []
    for name in ("tensorrt", "tensorrt_bindings"):
        try:
            trt = __import__(name)
        except Exception as error:  # ImportError, but also whatever a broken installation raises
            failures.append(f"{name}: {error}")
            continue
        if not hasattr(trt, "Runtime"):
            failures.append(f"{name}: not TensorRT's API")
            continue
        found = version_pair(trt.__version__)
        if not OLDEST <= found <= NEWEST:
            raise TensorRTMissing(f"TensorRT {trt.__version__} is not supported; 8.6 to 10.x are")
        return trt
    raise TensorRTMissing("TensorRT's Python API cannot be imported (" + "; ".join(failures) + ")")


def version_pair(text):
    parts = text.split(".")
    return (int(parts[0]), int(parts[1]))


def device_ordinal():
    text = os.environ.get(DEVICE_SETTING, "0")
    if not text.isdigit():
        raise TensorRTMissing(f'{DEVICE_SETTING} is "{text}"; it must be the number of a GPU, as nvidia-smi counts them')
    return int(text)


def make_logger(trt, verbose=False):
    """A logger that writes to standard error and remembers what went wrong, for the message that a user gets."""

    class Logger(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.problems = []

        def log(self, severity, message):
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.problems.append(message)
            if verbose or severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR, trt.ILogger.WARNING):
                print(f"[TensorRT] {message}", file=sys.stderr, flush=True)

        def take_problems(self):
            text = "; ".join(dict.fromkeys(self.problems))
            self.problems.clear()
            return text or "TensorRT gave no reason"

    return Logger()


def datatype_names(trt):
    """TensorRT's data types under the names of the inference protocol; a version lacks some."""
    names = {
        "FLOAT": "FP32", "HALF": "FP16", "BF16": "BF16", "INT8": "INT8", "UINT8": "UINT8",
        "INT32": "INT32", "INT64": "INT64", "BOOL": "BOOL",
    }  # fmt: skip
    return {getattr(trt.DataType, own): ours for own, ours in names.items() if hasattr(trt.DataType, own)}


DATATYPE_BYTES = {"FP32": 4, "FP16": 2, "BF16": 2, "INT8": 1, "UINT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1}


def set_flag(trt, config, name, on=True):
    """Sets or clears a builder flag if this version has it; tells whether it has."""
    flag = getattr(trt.BuilderFlag, name, None)
    if flag is None:
        return False
    (config.set_flag if on else config.clear_flag)(flag)
    return True
