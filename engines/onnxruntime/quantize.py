"""Static int8 quantisation with onnxruntime's own tooling (QDQ): quantize.py JOB.json

The job: {model, calibration, output, method, perChannel, reduceRange}; paths are absolute. Prints progress lines to
standard error and, when it fails, one last line of JSON {"error", "remedy"} to standard output.
"""
import json
import logging
import os
import sys
import warnings

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

# Scales per channel need DequantizeLinear's axis (onnx, Operators.md: since 13).
FIRST_OPSET = 13
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Refused(Exception):
    def __init__(self, error, remedy):
        super().__init__(error)
        self.remedy = remedy


class Samples(CalibrationDataReader):
    """One sample at a time; ranks tell whether the model wants a leading batch dimension of one."""

    def __init__(self, path, graph):
        constants = {initializer.name for initializer in graph.initializer}
        self.inputs = {}
        with np.load(path, allow_pickle=False) as arrays:
            for value in graph.input:
                if value.name in constants:
                    continue
                if value.name not in arrays:
                    raise Refused(
                        f'calibration inputs lack an array "{value.name}"',
                        "give an .npz with one array per input of the model",
                    )
                rank = len(value.type.tensor_type.shape.dim)
                self.inputs[value.name] = (arrays[value.name], rank)
        self.count = min(len(array) for array, _ in self.inputs.values())
        if self.count == 0:
            raise Refused("the calibration inputs hold no sample", "give at least one, better a hundred")
        self.at = 0

    def get_next(self):
        if self.at >= self.count:
            return None
        i = self.at
        self.at += 1
        return {
            name: array[i : i + 1] if array.ndim == rank else array[i]
            for name, (array, rank) in self.inputs.items()
        }


def main(job):
    model = onnx.load(job["model"])
    opset = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset < FIRST_OPSET:
        try:
            model = onnx.version_converter.convert_version(model, FIRST_OPSET)
        except Exception as error:
            raise Refused(
                f"the model's operator set {opset} cannot be raised to {FIRST_OPSET}, which int8 needs: {error}",
                f"export the model again with opset {FIRST_OPSET} or later",
            )
    directory = os.path.dirname(job["output"])
    raised, prepared = os.path.join(directory, "raised.onnx"), os.path.join(directory, "prepared.onnx")
    onnx.save(model, raised)
    # Symbolic inference wants sympy and serves transformers only.
    quant_pre_process(raised, prepared, skip_symbolic_shape=True)
    samples = Samples(job["calibration"], onnx.load(prepared).graph)
    print(f"calibrating on {samples.count} samples", file=sys.stderr, flush=True)
    quantize_static(
        prepared,
        job["output"],
        samples,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=job["perChannel"],
        reduce_range=job["reduceRange"],
        calibrate_method=METHODS[job["method"]],
    )
    for path in (raised, prepared):
        os.unlink(path)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    try:
        with open(sys.argv[1]) as file:
            main(json.load(file))
    except Refused as refusal:
        print(json.dumps({"error": str(refusal), "remedy": refusal.remedy}))
        sys.exit(1)
