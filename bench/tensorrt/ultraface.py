"""Appends UltraFace's box decoding to a 320 x 240 export that lacks it, so that `boxes` are corners in 0..1.

    python bench/tensorrt/ultraface.py slim-320.onnx decoded.onnx

The exports in circulation as "without postprocessing" give the detector's regressions relative to its prior boxes. Read as
corners they have no area, and every detection would seem to change from one engine to the next.
"""

import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

WIDTH, HEIGHT = 320, 240
STRIDES = (8, 16, 32, 64)
EDGES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2


def priors():
    """[center x, center y, width, height] of every prior box, in the order of the outputs."""
    rows = []
    for stride, edges in zip(STRIDES, EDGES):
        for y in range(-(-HEIGHT // stride)):
            for x in range(-(-WIDTH // stride)):
                for edge in edges:
                    rows.append(((x + 0.5) * stride / WIDTH, (y + 0.5) * stride / HEIGHT, edge / WIDTH, edge / HEIGHT))
    return np.clip(np.array(rows, np.float32), 0, 1)


def append_decoding(model):
    graph = model.graph
    boxes = next(output for output in graph.output if output.name == "boxes")
    anchors = priors()
    if boxes.type.tensor_type.shape.dim[1].dim_value != len(anchors):
        raise SystemExit(f"boxes has {boxes.type.tensor_type.shape.dim[1].dim_value} rows; an UltraFace of {WIDTH} x {HEIGHT} has {len(anchors)}")
    for node in graph.node:
        node.output[:] = ["regressions" if name == "boxes" else name for name in node.output]
    constants = {
        "prior_centers": anchors[None, :, :2],
        "center_scale": anchors[None, :, 2:] * np.float32(CENTER_VARIANCE),
        "prior_halves": anchors[None, :, 2:] / np.float32(2),
        "size_variance": np.float32(SIZE_VARIANCE),
    }
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    graph.node.extend(
        [
            helper.make_node("Slice", ["regressions"], ["center_deltas"], axes=[2], starts=[0], ends=[2]),
            helper.make_node("Slice", ["regressions"], ["size_deltas"], axes=[2], starts=[2], ends=[4]),
            helper.make_node("Mul", ["center_deltas", "center_scale"], ["center_offsets"]),
            helper.make_node("Add", ["center_offsets", "prior_centers"], ["centers"]),
            helper.make_node("Mul", ["size_deltas", "size_variance"], ["log_sizes"]),
            helper.make_node("Exp", ["log_sizes"], ["size_factors"]),
            helper.make_node("Mul", ["size_factors", "prior_halves"], ["halves"]),
            helper.make_node("Sub", ["centers", "halves"], ["low"]),
            helper.make_node("Add", ["centers", "halves"], ["high"]),
            helper.make_node("Concat", ["low", "high"], ["boxes"], axis=2),
        ]
    )


def make_initializers_constant(model):
    """Exports of that time list their weights as inputs too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    real = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(real)


def main():
    source, target = sys.argv[1:]
    model = onnx.load(source)
    append_decoding(model)
    make_initializers_constant(model)
    onnx.checker.check_model(model)
    onnx.save(model, target)


if __name__ == "__main__":
    main()
