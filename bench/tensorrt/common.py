"""What the TensorRT benches share: an engine folder opened for measuring, and statistics with their rules stated."""

import json
import math
import os
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
FAMILY = os.path.join(ROOT, "engines", "tensorrt")
sys.path[:0] = [FAMILY, os.path.join(ROOT, "engines", "python")]

import api
from cuda import Cuda
from runner import Runner


class Machine:
    """TensorRT and the GPU, once per process."""

    def __init__(self):
        self.trt = api.import_tensorrt()
        self.cuda = Cuda(api.device_ordinal(), "spin")
        self.device = self.cuda.describe()
        self.logger = api.make_logger(self.trt)

    def versions(self):
        return {"tensorrt": self.trt.__version__, "python": sys.version.split()[0], **self.device}

    def runner(self, folder, graphs=True):
        with open(os.path.join(folder, read_manifest(folder)["artifact"]["file"]), "rb") as file:
            return Runner(self.trt, self.cuda, self.logger, file.read(), graphs)


def read_manifest(folder):
    import yaml

    with open(os.path.join(folder, "engine.yaml")) as file:
        return yaml.safe_load(file)


def quantile(values, p):
    """trtexec's rule: sorted, index max(n - 1 - floor((1 - p) n), 0)."""
    ordered = sorted(values)
    return ordered[max(len(ordered) - 1 - math.floor((1 - p) * len(ordered)), 0)]


def summary(nanoseconds):
    """Percentiles in microseconds; p99 has a bound only with enough samples (audit-metrics L3)."""
    return {"n": len(nanoseconds), **{f"p{p}": round(quantile(nanoseconds, p / 100) / 1000, 2) for p in (1, 50, 90, 99)}, "max": round(max(nanoseconds) / 1000, 2)}


def write_json(path, content):
    with open(path, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
