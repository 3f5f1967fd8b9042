"""A network that is wrong: its last Gemm gives every class the score of its neighbour.

usage: shift_classes.py MODEL.onnx OUT.onnx
"""
import sys

import numpy as np
import onnx
from onnx import numpy_helper

model, out = sys.argv[1:]
network = onnx.load(model)
gemm = [node for node in network.graph.node if node.op_type == "Gemm"][-1]
transposed = any(attribute.name == "transB" and attribute.i for attribute in gemm.attribute)
for initializer in network.graph.initializer:
    if initializer.name in gemm.input[1:]:
        values = numpy_helper.to_array(initializer)
        axis = 0 if values.ndim == 1 or transposed else 1
        initializer.CopyFrom(numpy_helper.from_array(np.roll(values, 1, axis), initializer.name))
onnx.save(network, out)
