"""INT8 calibration: TensorRT's entropy calibrator, fed from an .npz of inputs."""

import numpy as np


class CalibrationError(ValueError):
    """The calibration inputs do not fit the model."""


def load_samples(path, inputs):
    """{input: float32 array [samples, ...]} for {name: shape of one batch}; checks names, counts and shapes."""
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: np.ascontiguousarray(held[name], dtype=np.float32) for name in held.files if name in inputs}
    except (OSError, ValueError) as error:
        raise CalibrationError(f"Calibration inputs {path} cannot be read: {error}; give an .npz with one array per input") from error
    missing = [name for name in inputs if name not in arrays]
    if missing:
        raise CalibrationError(f'Calibration inputs lack an array named "{missing[0]}"; one array per model input is needed')
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1 or 0 in counts:
        raise CalibrationError(f"Calibration arrays hold {sorted(counts)} samples; all need the same number, at least 1")
    for name, array in arrays.items():
        if array.shape[1:] != tuple(inputs[name][1:]):
            raise CalibrationError(f'Calibration samples of "{name}" are {list(array.shape[1:])}; the model takes {list(inputs[name][1:])}')
    return arrays


def batches(arrays, inputs):
    """Whole batches of contiguous arrays, in order; the last one is filled up from the beginning."""
    batch = next(iter(inputs.values()))[0]
    count = len(next(iter(arrays.values())))
    for start in range(0, count, batch):
        chosen = [index % count for index in range(start, start + batch)]
        yield {name: np.ascontiguousarray(array[chosen]) for name, array in arrays.items()}


def make_calibrator(trt, cuda, path, inputs):
    """An IInt8EntropyCalibrator2 over the samples of `path`; `inputs` is {name: shape of one batch}."""
    arrays = load_samples(path, inputs)

    class Calibrator(trt.IInt8EntropyCalibrator2):
        def __init__(self):
            trt.IInt8EntropyCalibrator2.__init__(self)
            self.cache = b""
            self.samples = len(next(iter(arrays.values())))
            self._batches = batches(arrays, inputs)
            self._stream = cuda.stream()
            self._device = {name: cuda.allocate(4 * int(np.prod(shape))) for name, shape in inputs.items()}

        def get_batch_size(self):
            return next(iter(inputs.values()))[0]

        def get_batch(self, names):
            batch = next(self._batches, None)
            if batch is None:
                return None
            for name in names:
                cuda.copy_in(self._device[name], batch[name].ctypes.data, batch[name].nbytes, self._stream)
            cuda.synchronize(self._stream)
            return [self._device[name] for name in names]

        def read_calibration_cache(self):
            return None  # each build calibrates for itself

        def write_calibration_cache(self, cache):
            self.cache = bytes(cache)

        def free(self):
            for address in self._device.values():
                cuda.free(address)
            self._device.clear()

    return Calibrator()
