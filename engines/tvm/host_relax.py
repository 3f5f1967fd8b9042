"""The engine host of metaschedule: Relax's virtual machine on the shared tensors."""

import time

from library_host import LibraryEngine, serve_library
from targets import cpu_name


class RelaxEngine(LibraryEngine):
    """Inputs are bound to the shared memory; the virtual machine owns its outputs, which are copied out."""

    def __init__(self, tvm, artifact, description):
        super().__init__(tvm, description, tvm.runtime.from_dlpack)
        self.device = {"kind": "cpu", "name": cpu_name()}
        self.machine = tvm.relax.VirtualMachine(load_library(tvm, artifact), tvm.cpu())
        self.main = self.machine["main"]

    def infer(self, call):
        inputs, outputs = self.bound(call)
        begin = time.perf_counter_ns()
        results = self.main(*inputs)
        if hasattr(results, "copyto"):
            results = (results,)
        for index, array in outputs.items():
            results[index].copyto(array)
        return time.perf_counter_ns() - begin


def load_library(tvm, path):
    """Today's TVM tells a library by its name's ending, which /proc/self/fd/5 has not."""
    load = tvm.get_global_func("ffi.Module.load_from_file.so", allow_missing=True)
    return load(path, "so") if load else tvm.runtime.load_module(path)


if __name__ == "__main__":
    serve_library(RelaxEngine, "tvm.relax", setup="metaschedule")
