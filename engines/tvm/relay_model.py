"""ONNX to Relay, and Relay to a library, with the errors a user can act on."""

import hashlib
import json
import os
import re
import shutil

import onnx
import tvm
from tvm import relay

import trailer
from model_file import last_line
from crosscheck_compile import CompileError


class RelayModel:
    """A model in Relay for one target. Its inputs are called i0, i1, ... so that no user's name can upset TVM."""

    def __init__(self, model, target):
        self.model = model
        self.target_text = target
        self.target = parse_target(target)
        proto = onnx.ModelProto()
        proto.CopyFrom(model.proto)
        rename_inputs(proto.graph)
        shapes = {f"i{index}": tensor["shape"] for index, tensor in enumerate(model.inputs)}
        dtypes = {f"i{index}": model.dtype(tensor) for index, tensor in enumerate(model.inputs)}
        try:
            self.module, self.params = relay.frontend.from_onnx(proto, shapes, dtypes, freeze_params=True)
            self.module = relay.transform.DynamicToStatic()(self.module)
        except tvm.error.OpNotImplemented as cause:
            raise unsupported(cause) from cause
        except Exception as cause:
            raise CompileError(
                f"TVM {tvm.__version__} cannot import the model: {last_line(cause)}", "simplify the model or use another compiler"
            ) from cause
        self.outputs = self.static_outputs()

    def to_nhwc(self):
        """Channels last, the layout in which AutoScheduler's sketches of convolutions find the fastest schedules."""
        layouts = {"nn.conv2d": ["NHWC", "default"], "nn.max_pool2d": ["NHWC", "default"], "nn.avg_pool2d": ["NHWC", "default"]}
        passes = [
            relay.transform.RemoveUnusedFunctions(),
            relay.transform.ConvertLayout(layouts),
            relay.transform.FoldConstant(),
        ]
        with tvm.transform.PassContext(opt_level=3):
            self.module = tvm.transform.Sequential(passes)(self.module)

    def static_outputs(self):
        kind = relay.transform.InferType()(self.module)["main"].ret_type
        fields = kind.fields if isinstance(kind, tvm.ir.TupleType) else [kind]
        outputs = []
        for described, field in zip(self.model.outputs, fields):
            if not all(isinstance(dim, tvm.tir.IntImm) for dim in field.shape):
                raise CompileError(
                    f'output "{described["name"]}" has a size that depends on the input\'s values', "use another compiler, such as onnxruntime"
                )
            outputs.append({**described, "shape": [int(dim) for dim in field.shape]})
        return outputs

    def build(self, context, scheduler=None):
        """The library under a dispatch context; `scheduler` is "auto" for AutoScheduler's schedules."""
        config = {"relay.backend.use_auto_scheduler": True} if scheduler == "auto" else {}
        try:
            with context, tvm.transform.PassContext(opt_level=3, config=config):
                return relay.build(self.module, target=self.target, params=self.params)
        except Exception as cause:
            raise CompileError(
                f"TVM {tvm.__version__} cannot build the model for {self.target_text}: {last_line(cause)}",
                "use another target or compiler",
            ) from cause

    def export(self, library, path):
        try:
            library.export_library(path)
        except Exception as cause:
            raise CompileError(f"the library could not be linked: {last_line(cause)}", "install a C++ compiler (g++)") from cause
        trailer.append(
            path,
            {"runtime": "tvm-graph", "target": self.target_text, "inputs": self.model.inputs, "outputs": self.outputs},
        )


def parse_target(text):
    try:
        target = tvm.target.Target(text)
    except Exception as cause:
        raise CompileError(f'"{text}" is not a TVM target: {last_line(cause)}', 'use one such as "llvm -mcpu=x86-64-v3"') from cause
    if target.kind.name == "llvm" and not tvm.runtime.enabled("llvm"):
        raise CompileError("this TVM was built without LLVM", "use a TVM with LLVM")
    if target.kind.name == "cuda" and not shutil.which("nvcc"):
        raise CompileError("target cuda needs nvcc, which is not here", "install the CUDA toolkit and put nvcc on PATH")
    return tvm.target.Target(target, host="llvm") if target.kind.name == "cuda" else target


def rename_inputs(graph):
    names = {value.name: f"i{index}" for index, value in enumerate(graph.input)}
    taken = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    own = {new: f"{new}_own" for new in names.values() if new in taken}
    change = {**own, **names}
    for tensor in graph.initializer:
        tensor.name = change.get(tensor.name, tensor.name)
    for node in graph.node:
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                if name in change:
                    field[index] = change[name]
    for value in (*graph.input, *graph.output):
        value.name = change.get(value.name, value.name)


def fingerprint(library):
    """What identifies the schedules: the graph and the generated code, without weights, paths or times."""
    digest = hashlib.sha256(json.dumps(json.loads(library.get_graph_json()), sort_keys=True).encode())
    for text in generated_code(library.get_lib()):
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()


def generated_code(module):
    pending, texts = [module], []
    while pending:
        current = pending.pop(0)
        pending.extend(current.imported_modules)
        if current.type_key == "llvm":
            # TVM names buffers by their address in alias metadata.
            texts.append(re.sub(r'^(source_filename|; ModuleID).*$|(?<=!")0x[0-9a-f]+', "", current.get_source("ll"), flags=re.M))
        elif current.type_key == "cuda":
            texts.append(current.get_source("cu"))
    return sorted(texts)


def unsupported(cause):
    found = re.search(r"not supported for frontend ONNX: ([^\n]+)", str(cause))
    names = found.group(1).strip() if found else last_line(cause)
    return CompileError(
        f"operator {names} is not supported by TVM {tvm.__version__}", "use another compiler, or replace the operator in the model"
    )
