"""The engine host of metaschedule: Relax's virtual machine on the shared tensors."""

import os
import time

os.environ["TVM_BIND_THREADS"] = "0"
os.environ["TVM_NUM_THREADS"] = os.environ.get("CROSSCHECK_THREADS", "1")

from crosscheck_host import Engine, LoadFailed, TensorSpec, serve  # noqa: E402

import trailer  # noqa: E402
from targets import cpu_name, missing_cpu_features  # noqa: E402


class RelaxEngine(Engine):
    """Inputs are bound to the shared memory; the virtual machine owns its outputs, which are copied out."""

    def __init__(self, job):
        try:
            description = trailer.read(job.artifact)
        except (OSError, ValueError) as cause:
            raise LoadFailed(f"the artifact cannot be loaded: {cause}", "compile the engine again") from cause
        lacking = missing_cpu_features(description["target"])
        if lacking:
            raise LoadFailed(
                f'the engine is for "{description["target"]}"; this processor lacks {", ".join(lacking)}', "compile it for this machine"
            )
        os.environ["TVM_NUM_THREADS"] = str(job.threads)
        try:
            import tvm
            from tvm import relax
        except (ImportError, OSError) as cause:
            raise LoadFailed(f"TVM cannot be imported: {cause}", "run node engines/tvm/setup.mjs metaschedule") from cause
        self.tvm = tvm
        self.runtime = {"name": "tvm", "version": tvm.__version__}
        self.device = {"kind": "cpu", "name": cpu_name()}
        self.inputs = [TensorSpec(t["name"], t["datatype"], t["shape"]) for t in description["inputs"]]
        self.outputs = [TensorSpec(t["name"], t["datatype"], t["shape"]) for t in description["outputs"]]
        try:
            self.machine = relax.VirtualMachine(load_library(tvm, job.artifact), tvm.cpu())
            self.main = self.machine["main"]
        except Exception as cause:
            raise LoadFailed(f"TVM {tvm.__version__} cannot load the library: {cause}", "compile the engine with this TVM") from cause

    def infer(self, call):
        if call.bound is None:
            call.bound = (
                [self.tvm.runtime.from_dlpack(tensor.array) for tensor in call.inputs],
                [(tensor.index, self.tvm.runtime.from_dlpack(tensor.array)) for tensor in call.outputs],
            )
        inputs, outputs = call.bound
        begin = time.perf_counter_ns()
        results = self.main(*inputs)
        if hasattr(results, "copyto"):
            results = (results,)
        for index, array in outputs:
            results[index].copyto(array)
        return time.perf_counter_ns() - begin


def load_library(tvm, path):
    """Today's TVM tells a library by its name's ending, which /proc/self/fd/5 has not."""
    load = tvm.get_global_func("ffi.Module.load_from_file.so", allow_missing=True)
    return load(path, "so") if load else tvm.runtime.load_module(path)


if __name__ == "__main__":
    serve(RelaxEngine)
