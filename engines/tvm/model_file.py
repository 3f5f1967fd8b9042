"""Reads a user's ONNX file into the one form that every TVM front end takes: static shapes, weights not listed as inputs."""

import re

import onnx
from onnx import TensorProto

from crosscheck_compile import CompileError

DATATYPES = {
    TensorProto.BOOL: ("BOOL", "bool"),
    TensorProto.UINT8: ("UINT8", "uint8"),
    TensorProto.UINT16: ("UINT16", "uint16"),
    TensorProto.UINT32: ("UINT32", "uint32"),
    TensorProto.UINT64: ("UINT64", "uint64"),
    TensorProto.INT8: ("INT8", "int8"),
    TensorProto.INT16: ("INT16", "int16"),
    TensorProto.INT32: ("INT32", "int32"),
    TensorProto.INT64: ("INT64", "int64"),
    TensorProto.FLOAT16: ("FP16", "float16"),
    TensorProto.FLOAT: ("FP32", "float32"),
    TensorProto.DOUBLE: ("FP64", "float64"),
}


class ModelFile:
    """An ONNX model with static inputs; `inputs` and `outputs` are what a host reports: name, datatype, shape."""

    def __init__(self, path, shapes=""):
        self.proto = read(path)
        graph = self.proto.graph
        weights = {tensor.name for tensor in graph.initializer}
        real = [value for value in graph.input if value.name not in weights]
        del graph.input[:]
        graph.input.extend(real)
        fix_shapes(graph.input, parse_shapes(shapes, [value.name for value in real]))
        self.inputs = [describe(value, "input") for value in graph.input]
        self.outputs = [describe(value, "output") for value in graph.output]

    def dtype(self, tensor):
        """The numpy name of a described tensor's datatype."""
        return next(numpy for kind, numpy in DATATYPES.values() if kind == tensor["datatype"])


def read(path):
    try:
        proto = onnx.load(path)
        if not proto.graph.node:
            raise ValueError("it has no nodes")
        return proto
    except Exception as cause:
        raise CompileError(f"{path} is not a readable ONNX model: {first_line(cause)}", "export the model again") from cause


def parse_shapes(text, names):
    """`input:1x3x48x48,other:1x10`; the name may be left out when there is one input."""
    shapes = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, dims = part.rpartition(":")
        if not name and len(names) == 1:
            name = names[0]
        if name not in names:
            raise CompileError(f'option shape names input "{name}"; the model has {", ".join(names)}', "use shape=NAME:1x3x48x48")
        try:
            shapes[name] = [int(dim) for dim in dims.split("x")]
            if min(shapes[name]) < 1:
                raise ValueError
        except ValueError:
            raise CompileError(f'option shape has "{part}"', "use positive sizes joined by x, such as shape=image:1x3x48x48") from None
    return shapes


def fix_shapes(inputs, shapes):
    dynamic = []
    for value in inputs:
        dims = value.type.tensor_type.shape.dim
        wanted = shapes.get(value.name)
        if wanted is not None:
            if len(dims) not in (0, len(wanted)):
                raise CompileError(f'option shape gives input "{value.name}" {len(wanted)} dimensions; it has {len(dims)}', "correct it")
            for index, size in enumerate(wanted):
                if index == len(dims):
                    dims.add()
                fixed = dims[index].dim_value
                if fixed not in (0, size):
                    raise CompileError(f'option shape gives input "{value.name}" size {size} at {index}; the model says {fixed}', "correct it")
                dims[index].dim_value = size
        elif any(dim.dim_value <= 0 for dim in dims) or not value.type.tensor_type.HasField("shape"):
            shown = "x".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims) or "unknown"
            dynamic.append(f'"{value.name}" ({shown})')
    if dynamic:
        raise CompileError(
            f"TVM needs static shapes, and the model has dynamic ones: input {', '.join(dynamic)}",
            "fix them with --option shape=NAME:1x3x48x48, or export the model with fixed shapes",
        )


def describe(value, role):
    tensor = value.type.tensor_type
    if tensor.elem_type not in DATATYPES:
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise CompileError(f'{role} "{value.name}" has datatype {kind}, which TVM engines do not take', "use another datatype or compiler")
    return {
        "name": value.name,
        "datatype": DATATYPES[tensor.elem_type][0],
        "shape": [dim.dim_value for dim in tensor.shape.dim],
    }


def first_line(cause):
    return str(cause).strip().split("\n")[0][:300] or type(cause).__name__


def last_line(cause):
    """TVM's errors carry a stack; what went wrong is on the last line that is no frame."""
    lines = [line.strip() for line in str(cause).split("\n")]
    lines = [line for line in lines if line and not re.match(r"(\d+: |at |File |Stack trace|Traceback|\[bt\])", line)]
    return lines[-1][:300] if lines else first_line(cause)
