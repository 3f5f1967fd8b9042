"""ONNX to Relax, and Relax to a library."""

import hashlib
import re

import tvm
from crosscheck_compile import CompileError
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx
from tvm.s_tir import meta_schedule

import trailer
from model_file import last_line


class RelaxModel:
    """A model in Relax, lowered to functions that can be tuned, for one target."""

    def __init__(self, model, target, threads):
        self.model = model
        self.target_text = target
        self.target = parse_target(target, threads)
        shapes = {tensor["name"]: tensor["shape"] for tensor in model.inputs}
        dtypes = {tensor["name"]: model.dtype(tensor) for tensor in model.inputs}
        try:
            module = from_onnx(model.proto, shapes, dtypes)
            with self.target:
                self.module = tvm.transform.Sequential(
                    [
                        relax.transform.DecomposeOpsForInference(),
                        relax.transform.CanonicalizeBindings(),
                        relax.get_pipeline("zero"),
                    ]
                )(module)
        except Exception as cause:
            raise import_error(cause) from cause
        self.outputs = self.static_outputs()
        self.tasks = meta_schedule.relax_integration.extract_tasks(self.module, self.target)

    def static_outputs(self):
        kind = self.module["main"].ret_ty if hasattr(self.module["main"], "ret_ty") else self.module["main"].ret_struct_info
        fields = list(kind.fields) if hasattr(kind, "fields") else [kind]
        outputs = []
        for described, field in zip(self.model.outputs, fields):
            shape = list(field.shape or [])
            if not all(hasattr(dim, "value") for dim in shape):
                raise CompileError(
                    f'output "{described["name"]}" has a size that depends on the input\'s values', "use another compiler, such as onnxruntime"
                )
            outputs.append({**described, "shape": [int(dim) for dim in shape]})
        return outputs

    def build(self, database):
        try:
            with self.target, database:
                module = relax.transform.MetaScheduleApplyDatabase()(self.module)
                return tvm.compile(module, target=self.target)
        except Exception as cause:
            raise CompileError(
                f"TVM {tvm.__version__} cannot build the model for {self.target_text}: {last_line(cause)}", "use another target or compiler"
            ) from cause

    def export(self, library, path):
        try:
            library.export_library(path)
        except Exception as cause:
            raise CompileError(f"the library could not be linked: {last_line(cause)}", "install a C++ compiler (g++)") from cause
        trailer.append(
            path, {"runtime": "tvm-relax", "target": self.target_text, "inputs": self.model.inputs, "outputs": self.outputs}
        )


def parse_target(text, threads):
    """Today's TVM takes targets as dictionaries only; users write them the same way for every TVM."""
    words = text.split()
    fields = {"kind": words[0] if words else ""}
    for word in words[1:]:
        key, _, value = word.lstrip("-").partition("=")
        fields[key] = value.split(",") if key == "mattr" else value
    fields["num-cores"] = threads
    if fields["kind"] != "llvm":
        raise CompileError(f'compiler metaschedule takes llvm targets, not "{text}"', "give one such as --option 'target=llvm -mcpu=x86-64-v3'")
    try:
        return tvm.target.Target(fields)
    except Exception as cause:
        raise CompileError(f'"{text}" is not a TVM target: {last_line(cause)}', 'use one such as "llvm -mcpu=x86-64-v3"') from cause


def fingerprint(library):
    """What identifies the schedules: the program and the generated code, without weights, paths or addresses."""
    digest = hashlib.sha256(library.as_text().encode())
    for module in library.mod.imports:
        if module.kind == "llvm":
            text = re.sub(r'^(source_filename|; ModuleID).*$|(?<=!")0x[0-9a-f]+', "", module.inspect_source("ll"), flags=re.M)
            digest.update(b"\0" + text.encode())
    return digest.hexdigest()


def import_error(cause):
    text = str(cause)
    found = re.search(r"(?:operators are not supported for frontend ONNX|[Oo]perator|op)[:\s]+['\"]?([A-Za-z][\w., ]*)['\"]? ?(?:is not|are not|not)?", text)
    # What TVM itself says of an operator that it lacks, either way, or by its class: no mark of unfinished work here.
    if "not supported" in text or "not implemented" in text.lower() or isinstance(cause, tvm.error.OpNotImplemented):
        name = found.group(1).strip() if found else last_line(cause)
        return CompileError(f"operator {name} is not supported by TVM {tvm.__version__}", "use another compiler, or replace the operator")
    return CompileError(f"TVM {tvm.__version__} cannot import the model: {last_line(cause)}", "simplify the model or use another compiler")
