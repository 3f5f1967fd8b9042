"""One loaded plan: device buffers, one stream, and a CUDA graph per place that tensors lie at.

A run is one graph launch: copies in, kernels between two event records, copies out. The gateway's slots are pinned in
place where the platform can (what cudaHostRegister does), so the copy engines read and write the shared file itself.
"""

import ctypes
import time
from dataclasses import dataclass
from math import prod

import api
from cuda import CudaError


class LoadError(RuntimeError):
    """The plan cannot be loaded or run here."""

    def __init__(self, message, remedy):
        super().__init__(message)
        self.remedy = remedy


@dataclass
class Port:
    """An input or output of the engine with its device buffer; `bounds` is [min, max] per dimension of a dynamic input."""

    name: str
    datatype: str
    shape: tuple
    bounds: list | None = None
    capacity: int = 0
    device: int = 0

    def bytes_of(self, shape):
        return api.DATATYPE_BYTES[self.datatype] * prod(shape)


class Runner:
    def __init__(self, trt, cuda, logger, plan, graphs=True):
        self.cuda, self._logger = cuda, logger
        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise LoadError(f"TensorRT {trt.__version__} refuses the plan: {logger.take_problems()}", "compile the model again on this machine")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise LoadError(f"No execution context: {logger.take_problems()}", "free GPU memory, or load fewer engines")
        self._plan_bytes = len(plan)
        self._pinned = None  # (address, end) of the mapped shared file
        self.stream = cuda.stream()
        self.before, self.after = cuda.event(), cuda.event()
        self._find_ports(trt)
        self._allocate()
        self.static = all(size >= 0 for port in (*self.inputs, *self.outputs) for size in port.shape)
        self.why_no_graph = None if graphs and self.static else "dynamic shapes" if graphs else "switched off"
        # TensorRT finishes its set-up in the first enqueue, which must not be a captured one.
        self.enqueue()
        cuda.synchronize(self.stream)

    def enqueue(self):
        if not self._context.execute_async_v3(self.stream.value):
            raise RuntimeError(f"TensorRT failed: {self._logger.take_problems()}")

    def device_bytes(self):
        """Buffers and scratch that this engine holds, and its plan for the weights."""
        scratch = getattr(self._engine, "device_memory_size_v2", None) or self._engine.device_memory_size
        return sum(port.capacity for port in (*self.inputs, *self.outputs)) + int(scratch) + self._plan_bytes

    def output_shapes(self, shapes):
        """Makes these the shapes of the inputs and returns those of the outputs."""
        if self.static:
            return [port.shape for port in self.outputs]
        for port, shape in zip(self.inputs, shapes):
            if shape != self._shapes.get(port.name):
                if not self._context.set_input_shape(port.name, shape):
                    raise ValueError(f'Input "{port.name}" cannot have shape {list(shape)}: {self._logger.take_problems()}')
                self._shapes[port.name] = shape
        return [tuple(self._context.get_tensor_shape(port.name)) for port in self.outputs]

    # the shared file

    def attach(self, address, size):
        """Pins the mapping of the shared file; tells whether this platform can."""
        self.detach()
        try:
            self.cuda.register_host(address, size)
            self._pinned = (address, address + size)
        except CudaError:
            self._pinned = None
        return self._pinned is not None

    def detach(self):
        """Everything bound to the old mapping must be gone before."""
        if self._pinned is not None:
            self.cuda.unregister_host(self._pinned[0])
            self._pinned = None

    def is_pinned(self, address):
        return self._pinned is not None and self._pinned[0] <= address < self._pinned[1]

    def close(self):
        self.detach()
        for port in (*self.inputs, *self.outputs):
            if port.device:
                self.cuda.free(port.device)
                port.device = 0
        self._context = self._engine = self._runtime = None

    def _find_ports(self, trt):
        self.inputs, self.outputs = [], []
        datatypes = api.datatype_names(trt)
        for name in [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]:
            kind = self._engine.get_tensor_dtype(name)
            if kind not in datatypes:
                raise LoadError(f'Tensor "{name}" has type {kind}, which the protocol lacks', "export the model with another type")
            if self._engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
                raise LoadError(f'Tensor "{name}" is a shape tensor, which this host cannot feed', "export the model with that shape as a constant")
            port = Port(name, datatypes[kind], tuple(self._engine.get_tensor_shape(name)))
            if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                if min(port.shape, default=0) < 0:
                    low, _, high = self._engine.get_tensor_profile_shape(name, 0)
                    port.bounds = [list(pair) for pair in zip(low, high)]
                self.inputs.append(port)
            else:
                self.outputs.append(port)

    def _allocate(self):
        """Buffers for the largest shapes, so that addresses never change."""
        self._shapes = {}
        for port in self.inputs:
            largest = tuple(high for _, high in port.bounds) if port.bounds else port.shape
            if port.bounds:
                self._context.set_input_shape(port.name, largest)
                self._shapes[port.name] = largest
            self._allocate_port(port, largest)
        for port in self.outputs:
            largest = tuple(self._context.get_tensor_shape(port.name))
            if min(largest, default=0) < 0:
                raise LoadError(f'The size of output "{port.name}" depends on the data', "export the model with a fixed number of results, for instance top-k")
            self._allocate_port(port, largest)

    def _allocate_port(self, port, shape):
        port.capacity = port.bytes_of(shape)
        try:
            port.device = self.cuda.allocate(port.capacity)
        except CudaError as error:
            raise LoadError(f'{port.capacity} bytes of GPU memory for "{port.name}": {error}', "free GPU memory, or load fewer engines") from error
        self._context.set_tensor_address(port.name, port.device)


class Binding:
    """A request's places on the host, bound once: the same request again is one launch.

    `inputs` and `outputs` are (index, address, shape) each; all shapes are known and fit.
    """

    def __init__(self, runner, inputs, outputs):
        self._runner, self._cuda = runner, runner.cuda
        self._shapes = [shape for _, _, shape in inputs]
        self._staging = []
        self._graph = None
        self._in = [self._place(runner.inputs[index], address, shape) for index, address, shape in inputs]
        self._out = [self._place(runner.outputs[index], address, shape) for index, address, shape in outputs]
        self._stage_in = [place for place in self._in if place[1] != place[2]]
        self._stage_out = [place for place in self._out if place[1] != place[2]]
        if runner.why_no_graph is None:
            self._capture()

    def run(self):
        """(engine, device) nanoseconds: copies and kernels by the host's clock, the kernels alone by the device's."""
        cuda, runner = self._cuda, self._runner
        begin = time.perf_counter_ns()
        for _, pinned, address, size in self._stage_in:
            ctypes.memmove(pinned, address, size)
        if self._graph is not None:
            cuda.launch(self._graph, runner.stream)
        else:
            runner.output_shapes(self._shapes)  # another binding may have changed them
            self._enqueue()
        cuda.synchronize(runner.stream)
        for _, pinned, address, size in self._stage_out:
            ctypes.memmove(address, pinned, size)
        engine = time.perf_counter_ns() - begin
        return engine, int(cuda.elapsed_seconds(runner.before, runner.after) * 1e9)

    def close(self):
        if self._graph is not None:
            self._cuda.destroy_graph(self._graph)
            self._graph = None
        for address in self._staging:
            self._cuda.free_host(address)
        self._staging.clear()

    __del__ = close

    def _place(self, port, address, shape):
        """(device, where the copy engine goes, the tensor's own place, bytes)"""
        size = port.bytes_of(shape)
        if self._runner.is_pinned(address):
            return (port.device, address, address, size)
        pinned = self._cuda.allocate_host(size)
        self._staging.append(pinned)
        return (port.device, pinned, address, size)

    def _enqueue(self):
        cuda, runner = self._cuda, self._runner
        for device, host, _, size in self._in:
            if size:
                cuda.copy_in(device, host, size, runner.stream)
        cuda.record(runner.before, runner.stream)
        runner.enqueue()
        cuda.record(runner.after, runner.stream)
        for device, host, _, size in self._out:
            if size:
                cuda.copy_out(host, device, size, runner.stream)

    def _capture(self):
        """Some engines cannot be captured (loops, conditionals on the host): those are enqueued call by call."""
        try:
            with self._cuda.external_events():
                self._graph = self._cuda.capture(self._runner.stream, self._enqueue)
        except (CudaError, RuntimeError) as error:
            self._runner.why_no_graph = str(error)
