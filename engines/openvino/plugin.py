"""What the compile program and the host have in common: the plug-in's settings and the names of datatypes."""

import openvino

DATATYPES = {
    "boolean": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f16": "FP16",
    "bf16": "BF16",
    "f32": "FP32",
    "f64": "FP64",
}


def settings(precision, threads):
    """Said when an engine is built and when it is loaded: left alone, the plug-in takes bf16 for fp32 where it can."""
    return {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": False,
    }


def version():
    return openvino.__version__.split("-")[0]


def device():
    return {"kind": "cpu", "name": openvino.Core().get_property("CPU", "FULL_DEVICE_NAME").strip()}
