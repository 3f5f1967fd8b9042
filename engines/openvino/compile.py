"""The compile program of openvino: reads the ONNX file, compiles it for this CPU, keeps the compiled model as one file."""

import hashlib
import json

import openvino
from crosscheck_compile import CompileError, run
from plugin import DATATYPES, device, settings, version

ARTIFACT = "model.blob"


def compile(job, progress):
    core = openvino.Core()
    if job.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise CompileError("this processor has no bf16", "build with --precision fp32")
    progress("importing", message=job.model_file.name)
    try:
        model = core.read_model(job.model_file)
    except Exception as cause:
        raise CompileError(
            f"OpenVINO {version()} cannot import the model: {reason(cause)}", "use another compiler, or replace the operator in the model"
        ) from cause
    fix_shapes(model, job.options["shape"])
    for port in (*model.inputs, *model.outputs):
        if port.get_element_type().get_type_name() not in DATATYPES:
            kind = port.get_element_type().get_type_name()
            raise CompileError(f'tensor "{port.get_any_name()}" has datatype {kind}, which engines do not exchange', "export another")
    progress("building", message=job.precision)
    try:
        compiled = core.compile_model(model, "CPU", settings(job.precision, job.threads))
    except Exception as cause:
        raise CompileError(f"OpenVINO {version()} cannot compile the model: {reason(cause)}", "use another compiler") from cause
    (job.out_directory / ARTIFACT).write_bytes(compiled.export_model().getvalue())
    return {
        "artifact": ARTIFACT,
        "tuningLog": None,
        "timingCache": None,
        "compilerVersion": version(),
        "target": "CPU",
        "device": device(),
        "options": {key: value for key, value in job.options.items() if value},
        "seed": None,
        "fingerprint": fingerprint(compiled),
        "notes": {},
    }


def fix_shapes(model, text):
    names = [port.get_any_name() for port in model.inputs]
    shapes = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, dims = part.rpartition(":")
        name = name or (names[0] if len(names) == 1 else "")
        if name not in names or not all(size.isdigit() and int(size) > 0 for size in dims.split("x")):
            raise CompileError(f'option shape has "{part}"; the inputs are {", ".join(names)}', "write NAME:1x3x48x48")
        shapes[name] = [int(size) for size in dims.split("x")]
    if shapes:
        try:
            model.reshape(shapes)
        except Exception as cause:
            raise CompileError(f"the model cannot take shape {text}: {reason(cause)}", "give sizes that fit it") from cause


def fingerprint(compiled):
    """Which kernel runs each layer, in which precision and layout."""
    rows = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = {key: str(value) for key, value in node.get_rt_info().items() if key in KERNEL_FACTS}
        if facts.get("layerType") not in ("Const", "Input", "Output"):
            rows.append([facts.get(key) for key in KERNEL_FACTS])
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


KERNEL_FACTS = ("layerType", "primitiveType", "runtimePrecision", "outputLayouts", "outputPrecisions", "originalLayersNames")


def reason(cause):
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return " ".join(telling or lines)[:400] or type(cause).__name__


if __name__ == "__main__":
    run(compile)
