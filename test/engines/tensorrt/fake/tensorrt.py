"""Stands in for TensorRT's Python API where there is no GPU: the calls that engines/tensorrt makes, and no others.

A "model" is JSON instead of ONNX: {"inputs": [{"name", "shape"}], "outputs": [...], "factor": 2}; every output is the first
input times the factor. "Device memory" is that of fake_cuda.c. FAKE_TENSORRT makes it misbehave.
"""

import ctypes
import enum
import json
import os

__version__ = os.environ.get("FAKE_TENSORRT_VERSION", "10.6.0")
_cuda = ctypes.CDLL("libcuda.so.1")
_kernel = ctypes.CFUNCTYPE(None)


def _misbehaves(how):
    return os.environ.get("FAKE_TENSORRT") == how


class DataType(enum.Enum):
    FLOAT, HALF, INT8, INT32, INT64, BOOL = range(6)


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = range(2)


class TensorLocation(enum.Enum):
    DEVICE, HOST = range(2)


class LayerInformationFormat(enum.Enum):
    JSON = 1


class LayerType(enum.Enum):
    CONVOLUTION, QUANTIZE = range(2)


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class ProfilingVerbosity(enum.Enum):
    DETAILED = 1


class BuilderFlag(enum.Enum):
    TF32, FP16, INT8, ERROR_ON_TIMING_CACHE_MISS = range(4)


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self):
        pass


class IProgressMonitor:
    def __init__(self):
        pass


class IInt8EntropyCalibrator2:
    def __init__(self):
        pass


class _Tensor:
    def __init__(self, fields):
        self.name, self.shape = fields["name"], tuple(fields["shape"])


class Network:
    def __init__(self):
        self.model = None
        self.num_layers = 1

    def get_input(self, index):
        return _Tensor(self.model["inputs"][index])

    def get_layer(self, index):
        return type("Layer", (), {"type": LayerType.QUANTIZE if self.model.get("quantized") else LayerType.CONVOLUTION})

    num_inputs = property(lambda self: len(self.model["inputs"]))
    num_outputs = property(lambda self: len(self.model["outputs"]))


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._error = network, None
        self.num_errors = 0

    def parse_from_file(self, path):
        with open(path) as file:
            model = json.load(file)
        if "unsupported" in model:
            self.num_errors, self._error = 1, model["unsupported"]
            return False
        self._network.model = model
        return True

    def get_error(self, index):
        operator = self._error

        class Error:
            node_operator = staticmethod(lambda: operator)
            node_name = staticmethod(lambda: "node_7")
            desc = staticmethod(lambda: "no importer registered for op")

        return Error


class TimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content


class Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, low, best, high):
        self.shapes[name] = (low, best, high)


class Config:
    def __init__(self):
        self.flags, self.profile, self.cache, self.int8_calibrator, self.progress_monitor = {BuilderFlag.TF32}, None, None, None, None

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool, size):
        pass

    def add_optimization_profile(self, profile):
        self.profile = profile

    def create_timing_cache(self, content):
        if bytes(content).startswith(b"garbage"):
            self.logger.log(ILogger.ERROR, "Serialization assertion magicTagRead == kMAGIC_TAG failed")
            content = b""
        return TimingCache(bytes(content))

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        self.cache = cache
        return not cache.content.startswith(b"foreign")


class Builder:
    def __init__(self, logger):
        self.logger = logger

    def create_network(self, flags):
        return Network()

    def create_builder_config(self):
        config = Config()
        config.logger = self.logger
        return config

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        if _misbehaves("no-memory"):
            self.logger.log(ILogger.ERROR, "Error Code 2: OutOfMemory (no further information)")
            return None
        while _misbehaves("endless"):
            ctypes.CDLL(None).usleep(1000)  # native code that takes no notice of Python
        if config.progress_monitor:
            config.progress_monitor.phase_start("Building Engine", None, 2)
            config.progress_monitor.step_complete("Building Engine", 0)
            config.progress_monitor.phase_finish("Building Engine")
        samples = 0
        if config.int8_calibrator:
            names = [network.get_input(i).name for i in range(network.num_inputs)]
            while config.int8_calibrator.get_batch(names):
                samples += config.int8_calibrator.get_batch_size()
            config.int8_calibrator.write_calibration_cache(b"calibrated")
        timed = b"timings of " + json.dumps(network.model).encode()
        if config.cache.content != timed:
            config.cache.content = timed
        flags = sorted(flag.name for flag in config.flags)
        shapes = config.profile.shapes if config.profile else {}
        return json.dumps({**network.model, "flags": flags, "profile": shapes, "calibrated": samples}).encode()


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, plan):
        try:
            return Engine(json.loads(plan))
        except ValueError:
            self.logger.log(ILogger.ERROR, "Serialization assertion magicTagRead == kMAGIC_TAG failed")
            return None


class Engine:
    def __init__(self, model):
        self.model = model
        self.num_layers, self.num_aux_streams, self.device_memory_size = 1, 0, 4096
        self._ports = {port["name"]: port for port in [*model["inputs"], *model["outputs"]]}
        self.num_io_tensors = len(self._ports)

    def get_tensor_name(self, index):
        return list(self._ports)[index]

    def get_tensor_dtype(self, name):
        return DataType[self._ports[name].get("type", "FLOAT")]

    def get_tensor_shape(self, name):
        return self._ports[name]["shape"]

    def get_tensor_location(self, name):
        return TensorLocation.DEVICE

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if any(port["name"] == name for port in self.model["inputs"]) else TensorIOMode.OUTPUT

    def get_tensor_profile_shape(self, name, profile):
        return self.model["profile"][name]

    def create_engine_inspector(self):
        flags = self.model.get("flags", [])
        kind = "FP16" if "FP16" in flags else "FP32"
        tensor = {"Name": "x", "Format/Datatype": f"Row major linear {kind}"}
        layer = {"Name": "conv1", "Inputs": [tensor], "Outputs": [tensor], "TacticName": f"sm90_{kind.lower()}_conv"}

        class Inspector:
            get_engine_information = staticmethod(lambda form: json.dumps({"Layers": [layer], "Bindings": []}))

        return Inspector

    def create_execution_context(self):
        return Context(self)


class Context:
    def __init__(self, engine):
        self.engine, self.addresses, self.shapes = engine, {}, {}
        self.enqueued = _kernel(self._run)

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        first = self.engine.model["inputs"][0]
        batch = self.shapes.get(first["name"], first["shape"])[0]
        return tuple(batch if size < 0 else size for size in self.engine.get_tensor_shape(name))

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        if _misbehaves("not-capturable") and _cuda.fake_capturing(ctypes.c_void_p(stream)):
            return False
        return _cuda.fake_kernel(ctypes.c_void_p(stream), self.enqueued) == 0

    def _run(self):
        source = self.engine.model["inputs"][0]
        count = 1
        for size in self.shapes.get(source["name"], source["shape"]):
            count *= size
        values = (ctypes.c_float * count).from_address(self.addresses[source["name"]])
        for port in self.engine.model["outputs"]:
            target = (ctypes.c_float * count).from_address(self.addresses[port["name"]])
            for i in range(count):
                target[i] = values[i] * self.engine.model["factor"]
