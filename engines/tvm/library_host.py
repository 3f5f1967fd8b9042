"""What both hosts do around their executor: settings before TVM is imported, checks of the library, its tensors."""

import importlib
import os

os.environ["TVM_BIND_THREADS"] = "0"  # no pinning to cores
os.environ["TVM_NUM_THREADS"] = os.environ.get("CROSSCHECK_THREADS", "1")

from crosscheck_host import Engine, LoadFailed, TensorSpec, serve  # noqa: E402

import trailer  # noqa: E402
from targets import missing_cpu_features  # noqa: E402


def serve_library(load, module, setup):
    """Serves what `load(tvm, path, description)` makes of a library. `module`: of TVM; `setup`: the compiler whose set-up brings it."""

    def open_library(job):
        try:
            description = trailer.read(job.artifact)
        except (OSError, ValueError) as cause:
            raise LoadFailed(f"the artifact cannot be loaded: {cause}", "compile the engine again") from cause
        target = description["target"]
        lacking = missing_cpu_features(target)
        if lacking:
            raise LoadFailed(f'the engine is for "{target}"; this processor lacks {", ".join(lacking)}', "compile it for this machine")
        os.environ["TVM_NUM_THREADS"] = str(job.threads)
        try:
            tvm = importlib.import_module("tvm")
            importlib.import_module(module)
        except (ImportError, OSError) as cause:
            raise LoadFailed(f"TVM cannot be imported: {cause}", f"run node engines/tvm/setup.mjs {setup}") from cause
        try:
            return load(tvm, job.artifact, description)
        except LoadFailed:
            raise
        except Exception as cause:
            raise LoadFailed(f"TVM {tvm.__version__} cannot load the library: {cause}", "compile the engine with this TVM") from cause

    serve(open_library)


class LibraryEngine(Engine):
    """`from_dlpack`: TVM's, which has moved between versions."""

    def __init__(self, tvm, description, from_dlpack):
        self.tvm = tvm
        self.from_dlpack = from_dlpack
        self.runtime = {"name": "tvm", "version": tvm.__version__}
        self.inputs = [TensorSpec(t["name"], t["datatype"], t["shape"]) for t in description["inputs"]]
        self.outputs = [TensorSpec(t["name"], t["datatype"], t["shape"]) for t in description["outputs"]]

    def bound(self, call):
        """The call's tensors in shared memory as TVM's, made once: inputs in order, outputs by index."""
        if call.bound is None:
            call.bound = (
                [self.from_dlpack(tensor.array) for tensor in call.inputs],
                {tensor.index: self.from_dlpack(tensor.array) for tensor in call.outputs},
            )
        return call.bound
