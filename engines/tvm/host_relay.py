"""The engine host of tvm, autotvm and autoscheduler: TVM's graph executor on the shared tensors, without copies on a CPU."""

import os
import time

os.environ["TVM_USE_RUNTIME_LIB"] = "1"  # before TVM is imported: its runtime part alone, no LLVM in the host

from crosscheck_cuda import mps_enabled  # noqa: E402
from crosscheck_host import LoadFailed  # noqa: E402

from library_host import LibraryEngine, serve_library  # noqa: E402
from targets import cpu_name  # noqa: E402


def load(tvm, artifact, description):
    return (CudaEngine if description["target"].startswith("cuda") else CpuEngine)(tvm, artifact, description)


class GraphEngine(LibraryEngine):
    """One graph executor and what both kinds of device do alike."""

    def __init__(self, tvm, artifact, description, device):
        super().__init__(tvm, description, tvm.nd.from_dlpack)
        self.tvm_device = device
        self.library = tvm.runtime.load_module(artifact, "so")
        self.open_graph()
        # The graph's parameters are inputs too, so a position in the model is looked up by name once.
        self.places = [self.input_index(f"i{index}") for index in range(len(self.inputs))]

    def open_graph(self):
        """A new executor: one that was ever bound to other memory stays so, also for tensors that are copied later."""
        graph = self.library["default"](self.tvm_device)
        self.run_graph = graph["run"]
        self.set_input = graph["set_input"]
        self.set_input_zero_copy = graph["set_input_zero_copy"]
        self.set_output_zero_copy = graph["set_output_zero_copy"]
        self.get_output = graph["get_output"]
        self.input_index = graph["get_input_index"]

    def empty(self, spec, device=None):
        return self.tvm.nd.empty(spec.shape, dtype_name(spec), device or self.tvm.cpu())


class CpuEngine(GraphEngine):
    """Inputs and outputs are bound to the shared memory; a run copies nothing."""

    def __init__(self, tvm, artifact, description):
        super().__init__(tvm, artifact, description, tvm.cpu())
        self.device = {"kind": "cpu", "name": cpu_name()}
        self.spare = {}
        self.bound_call = None
        self.zero_copy = self.binds_truly()
        if not self.zero_copy:
            self.open_graph()

    def infer(self, call):
        inputs, outputs = self.bound(call)
        if not self.zero_copy:
            return self.infer_copying(inputs, outputs)
        if self.bound_call is not call:
            self.bind(inputs, outputs)
            self.bound_call = call
        self.run_graph()
        return None

    def bind(self, inputs, outputs):
        for place, array in zip(self.places, inputs):
            self.set_input_zero_copy(place, array)
        for index, spec in enumerate(self.outputs):
            array = outputs.get(index)
            if array is None:  # not asked for: it still has to go somewhere
                array = self.spare.get(index) or self.empty(spec)
                self.spare[index] = array
            self.set_output_zero_copy(index, array)

    def infer_copying(self, inputs, outputs):
        for place, array in zip(self.places, inputs):
            self.set_input(place, array)
        self.run_graph()
        for index, array in outputs.items():
            self.get_output(index).copyto(array)
        return None

    def binds_truly(self):
        """Whether bound tensors give the outputs that copied ones give: a graph may pass an input or a weight straight through."""
        import numpy

        random = numpy.random.default_rng(1)
        arrays = [self.tvm.nd.array((random.random(spec.shape) * 2).astype(dtype_name(spec))) for spec in self.inputs]
        copied = [numpy.empty(spec.shape, dtype_name(spec)) for spec in self.outputs]
        bound = [self.tvm.nd.array(numpy.full(spec.shape, 77).astype(dtype_name(spec))) for spec in self.outputs]
        self.infer_copying(arrays, {})
        for index, array in enumerate(copied):
            array[...] = self.get_output(index).numpy()
        for place, array in zip(self.places, arrays):
            self.set_input(place, self.empty(self.inputs[self.places.index(place)]))
        self.bind(arrays, dict(enumerate(bound)))
        self.run_graph()
        return all(array.numpy().tobytes() == expected.tobytes() for array, expected in zip(bound, copied))

    def mapped(self, memory, address):
        self.bound_call = None


class CudaEngine(GraphEngine):
    """Inputs are copied to buffers on the device that the graph is bound to, outputs back; the copies are part of the time."""

    def __init__(self, tvm, artifact, description):
        if not tvm.cuda(0).exist:
            raise LoadFailed("the engine is for a CUDA GPU, and none is here", "serve it on a machine with that GPU")
        super().__init__(tvm, artifact, description, tvm.cuda(0))
        self.device = {"kind": "cuda", "name": self.tvm_device.device_name, "mps": mps_enabled()}
        self.on_device = [self.empty(spec, self.tvm_device) for spec in self.inputs]
        for place, array in zip(self.places, self.on_device):
            self.set_input_zero_copy(place, array)
        self.results = [self.get_output(index) for index in range(len(self.outputs))]

    def infer(self, call):
        inputs, outputs = self.bound(call)
        begin = time.perf_counter_ns()
        for array, target in zip(inputs, self.on_device):
            array.copyto(target)
        copied = time.perf_counter_ns()
        self.run_graph()
        self.tvm_device.sync()
        ran = time.perf_counter_ns()
        for index, array in outputs.items():
            self.results[index].copyto(array)
        return time.perf_counter_ns() - begin, ran - copied


def dtype_name(spec):
    import numpy

    return numpy.dtype(spec.dtype).name


if __name__ == "__main__":
    serve_library(load, "tvm", setup="autotvm")
