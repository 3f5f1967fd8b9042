"""The engine host: one TensorRT plan behind docs/engine-host.md."""

import os

import api
import plan as plans
from crosscheck_cuda import mps_enabled
from crosscheck_host import BadRequest, Engine, LoadFailed, TensorSpec, serve
from cuda import Cuda, CudaError
from runner import Binding, LoadError, Runner

WAIT_SETTING = "CROSSCHECK_TENSORRT_WAIT"  # spin | yield | block
GRAPH_SETTING = "CROSSCHECK_TENSORRT_GRAPH"  # on | off


class TensorRTEngine(Engine):
    def __init__(self, job):
        try:
            trt = api.import_tensorrt()
            # Before TensorRT touches the driver: without a device it aborts the process instead of raising.
            self._cuda = Cuda(api.device_ordinal(), os.environ.get(WAIT_SETTING, "spin"))
        except api.TensorRTMissing as error:
            raise LoadFailed(str(error), api.REMEDY) from error
        except CudaError as error:
            raise LoadFailed(str(error), "serve another engine of this model, or move it to a machine with a GPU") from error
        device = self._cuda.describe()
        refused = plans.refusal(job.manifest, device, trt.__version__)
        if refused:
            raise LoadFailed(*refused)
        with open(job.artifact, "rb") as file:
            content = file.read()
        try:
            self._runner = Runner(trt, self._cuda, api.make_logger(trt), content, os.environ.get(GRAPH_SETTING, "on") != "off")
        except LoadError as error:
            raise LoadFailed(str(error), error.remedy) from error
        self.runtime = {"name": "tensorrt", "version": trt.__version__}
        self.device = {"kind": "cuda", "mps": mps_enabled(api.device_ordinal()), **device}
        self.inputs = [_spec(port) for port in self._runner.inputs]
        self.outputs = [_spec(port) for port in self._runner.outputs]

    def mapped(self, memory, address):
        pinned = self._runner.attach(address, len(memory))
        graph = self._runner.why_no_graph or "wanted"
        print(f"shared memory: {'pinned in place' if pinned else 'staged through pinned buffers'}; CUDA graph: {graph}", flush=True)

    def infer(self, call):
        try:
            if call.bound is None:
                call.bound = self._bind(call)
            return call.bound.run()
        except CudaError:
            self._exit_if_lost()
            raise

    def ping(self):
        return {"deviceBytes": self._runner.device_bytes()}

    def close(self):
        self._runner.close()

    def _bind(self, call):
        try:
            shapes = self._runner.output_shapes([tensor.shape for tensor in call.inputs])
        except ValueError as error:
            raise BadRequest(str(error)) from error
        for tensor in call.outputs:
            tensor.resize(shapes[tensor.index])
        hindrance = self._runner.why_no_graph
        binding = Binding(
            self._runner,
            [(tensor.index, tensor.address, tensor.shape) for tensor in call.inputs],
            [(tensor.index, tensor.address, tensor.shape) for tensor in call.outputs],
        )
        if self._runner.why_no_graph != hindrance:
            print(f"CUDA graph: not possible with this engine ({self._runner.why_no_graph})", flush=True)
        return binding

    def _exit_if_lost(self):
        """A fault on the device breaks the context for good; a new process gets a new one, and the gateway starts it."""
        try:
            self._cuda.synchronize(self._runner.stream)
        except CudaError as error:
            raise SystemExit(f"The GPU context is lost: {error}") from error


def _spec(port):
    return TensorSpec(port.name, port.datatype, port.shape, port.bounds)


if __name__ == "__main__":
    api.use_configured_libraries()
    serve(TensorRTEngine)
