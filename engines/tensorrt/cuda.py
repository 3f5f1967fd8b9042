"""The CUDA driver API through ctypes: memory, streams, events, graphs.

The driver library (libcuda.so.1) is there wherever an NVIDIA GPU works, on Jetson too, and its entry points are
stable, so no CUDA toolkit, no cudart of a fitting version and no Python CUDA package is needed. Handles of the driver
API are the handles of the runtime API: TensorRT takes this stream and these addresses as they are.
"""

import contextlib
import ctypes
from ctypes import byref, c_char, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p

SPIN, YIELD, BLOCKING = 1, 2, 4
SCHEDULES = {"spin": SPIN, "yield": YIELD, "block": BLOCKING}

_EVENT_DEFAULT, _EVENT_BLOCKING = 0, 1
_EVENT_RECORD_EXTERNAL = 1
_STREAM_NON_BLOCKING = 1
_CAPTURE_THREAD_LOCAL = 1
_ATTRIBUTE_MULTIPROCESSORS, _ATTRIBUTE_MAJOR, _ATTRIBUTE_MINOR, _ATTRIBUTE_INTEGRATED = 16, 75, 76, 18


class CudaError(RuntimeError):
    """A CUDA call failed, or there is no usable GPU; the message names the remedy where one is known."""


class Cuda:
    """One device, its primary context (the one TensorRT uses) made current in this thread."""

    def __init__(self, ordinal=0, schedule="spin", library="libcuda.so.1"):
        if schedule not in SCHEDULES:
            raise CudaError(f'Unknown wait "{schedule}"; choose one of {", ".join(SCHEDULES)}')
        try:
            self._lib = ctypes.CDLL(library)
        except OSError as error:
            raise CudaError(
                f"No NVIDIA driver on this machine ({error}); install the driver, or run where a GPU is"
            ) from error
        try:
            self._call("cuInit", 0)
        except CudaError as error:
            raise CudaError(f"The NVIDIA driver found no usable GPU ({error}); look at nvidia-smi, and in a container pass the GPU through") from error
        count = c_int()
        self._call("cuDeviceGetCount", byref(count))
        if not 0 <= ordinal < count.value:
            raise CudaError(f"GPU {ordinal} does not exist: {count.value} visible; look at CUDA_VISIBLE_DEVICES")
        self._device = c_int()
        self._call("cuDeviceGet", byref(self._device), ordinal)
        # Before the context exists, or the driver may ignore it.
        self._call("cuDevicePrimaryCtxSetFlags_v2", self._device, SCHEDULES[schedule])
        self._context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)
        self._call("cuCtxSetCurrent", self._context)
        self.schedule = schedule
        self._external = False

    def describe(self):
        """What a plan is bound to: device name, compute capability, driver."""
        name = (c_char * 128)()
        self._call("cuDeviceGetName", name, 128, self._device)
        total = c_size_t()
        self._call("cuDeviceTotalMem_v2", byref(total), self._device)
        uuid = (ctypes.c_ubyte * 16)()
        self._call("cuDeviceGetUuid", uuid, self._device)
        driver = c_int()
        self._call("cuDriverGetVersion", byref(driver))
        digits = bytes(uuid).hex()
        return {
            "name": name.value.decode(),
            "computeCapability": f"{self._attribute(_ATTRIBUTE_MAJOR)}.{self._attribute(_ATTRIBUTE_MINOR)}",
            "multiprocessors": self._attribute(_ATTRIBUTE_MULTIPROCESSORS),
            "integrated": bool(self._attribute(_ATTRIBUTE_INTEGRATED)),
            "memoryBytes": total.value,
            "uuid": f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}",
            "cudaDriver": f"{driver.value // 1000}.{driver.value % 1000 // 10}",
        }

    def make_current(self):
        """Threads each have a current context of their own; call this in any thread that uses CUDA."""
        self._call("cuCtxSetCurrent", self._context)

    # memory

    def allocate(self, size):
        address = c_ulonglong()
        self._call("cuMemAlloc_v2", byref(address), c_size_t(max(int(size), 1)))
        return address.value

    def free(self, address):
        self._call("cuMemFree_v2", c_ulonglong(address))

    def allocate_host(self, size):
        """Pinned host memory, as an address."""
        address = c_void_p()
        self._call("cuMemHostAlloc", byref(address), c_size_t(max(int(size), 1)), c_uint(0))
        return address.value

    def free_host(self, address):
        self._call("cuMemFreeHost", c_void_p(address))

    def register_host(self, address, size):
        """Pins memory that exists already (the shared slots); CudaError where the platform cannot."""
        self._call("cuMemHostRegister_v2", c_void_p(address), c_size_t(size), c_uint(0))

    def unregister_host(self, address):
        self._call("cuMemHostUnregister", c_void_p(address))

    def copy_in(self, device, host, size, stream):
        self._check("cuMemcpyHtoDAsync_v2", self._lib.cuMemcpyHtoDAsync_v2(c_ulonglong(device), c_void_p(host), c_size_t(size), stream))

    def copy_out(self, host, device, size, stream):
        self._check("cuMemcpyDtoHAsync_v2", self._lib.cuMemcpyDtoHAsync_v2(c_void_p(host), c_ulonglong(device), c_size_t(size), stream))

    # streams and events

    def stream(self):
        stream = c_void_p()
        self._call("cuStreamCreate", byref(stream), _STREAM_NON_BLOCKING)
        return stream

    def synchronize(self, stream):
        self._check("cuStreamSynchronize", self._lib.cuStreamSynchronize(stream))

    def event(self):
        event = c_void_p()
        flags = _EVENT_BLOCKING if self.schedule == "block" else _EVENT_DEFAULT
        self._call("cuEventCreate", byref(event), flags)
        return event

    def record(self, event, stream):
        """An external record becomes a node of a graph being captured; a plain one would only order it."""
        if self._external:
            self._check("cuEventRecordWithFlags", self._lib.cuEventRecordWithFlags(event, stream, _EVENT_RECORD_EXTERNAL))
        else:
            self._check("cuEventRecord", self._lib.cuEventRecord(event, stream))

    @contextlib.contextmanager
    def external_events(self):
        self._external = True
        try:
            yield
        finally:
            self._external = False

    def elapsed_seconds(self, start, end):
        milliseconds = c_float()
        self._check("cuEventElapsedTime", self._lib.cuEventElapsedTime(byref(milliseconds), start, end))
        return milliseconds.value / 1000

    # graphs

    def capture(self, stream, enqueue):
        """Records what `enqueue()` puts on the stream as one graph that is launched with one call."""
        self._call("cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)
        graph = c_void_p()
        failure = None
        try:
            enqueue()
        except Exception as error:  # the capture must be ended whatever happened
            failure = error
        code = self._lib.cuStreamEndCapture(stream, byref(graph))
        if failure is not None:
            if graph.value:
                self._lib.cuGraphDestroy(graph)
            raise failure
        self._check("cuStreamEndCapture", code)
        executable = c_void_p()
        try:
            self._call("cuGraphInstantiateWithFlags", byref(executable), graph, c_ulonglong(0))
        finally:
            self._lib.cuGraphDestroy(graph)
        return executable

    def launch(self, graph, stream):
        self._check("cuGraphLaunch", self._lib.cuGraphLaunch(graph, stream))

    def destroy_graph(self, graph):
        self._lib.cuGraphExecDestroy(graph)

    def _attribute(self, attribute):
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), attribute, self._device)
        return value.value

    def _call(self, name, *arguments):
        try:
            function = getattr(self._lib, name)
        except AttributeError as error:
            raise CudaError(f"The NVIDIA driver lacks {name}; CUDA 11.4 or newer is needed, so update the driver") from error
        self._check(name, function(*arguments))

    def _check(self, name, code):
        if code == 0:
            return
        text = ctypes.c_char_p()
        try:
            self._lib.cuGetErrorString(code, byref(text))
        except AttributeError:
            pass
        detail = text.value.decode() if text.value else "unknown error"
        raise CudaError(f"{name} failed with {code}: {detail}")
