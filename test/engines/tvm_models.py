"""Writes the small ONNX models of tvm.test.ts into the folder given. Run by the Python that TVM's set-up made."""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(0)


def weights(name, *shape):
    return numpy_helper.from_array((random.standard_normal(shape) * 0.2).astype("float32"), name)


def value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save(name, nodes, inputs, outputs, tensors=(), listed=False):
    """`listed` puts the weights among the inputs, as exports of opset 9 do."""
    extra = [value(tensor.name, list(tensor.dims)) for tensor in tensors] if listed else []
    graph = helper.make_graph(nodes, name, [*inputs, *extra], outputs, list(tensors))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9 if listed else 13)])
    model.ir_version = 4 if listed else 8
    onnx.save(model, f"{sys.argv[1]}/{name}.onnx")


conv = [
    helper.make_node("Conv", ["image", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    helper.make_node("Relu", ["c"], ["scores"]),
]
kernel = [weights("w", 4, 3, 3, 3), weights("b", 4)]
save("conv", conv, [value("image", [1, 3, 8, 8])], [value("scores", [1, 4, 8, 8])], kernel, listed=True)
save("dynamic", conv, [value("image", ["batch", 3, 8, 8])], [value("scores", ["batch", 4, 8, 8])], kernel)
save("unsupported", [helper.make_node("Frobnicate", ["image"], ["scores"])], [value("image", [1, 8])], [value("scores", [1, 8])])
save(
    "through",
    [helper.make_node("Identity", ["image"], ["same"]), helper.make_node("Flatten", ["image"], ["flat"])],
    [value("image", [1, 2, 4])],
    [value("same", [1, 2, 4]), value("flat", [1, 8])],
)
