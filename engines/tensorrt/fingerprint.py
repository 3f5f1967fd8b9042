"""What the builder chose, as one digest: two plans with equal fingerprints run the same kernels in the same order.

Plan files differ from build to build even when they compute the same thing (generated kernels carry symbol names of
their own), so the digest of a plan says little. The fingerprint is taken over the ordered
(layer, precision, tactic or kernel, format) of the engine inspector's report instead.
"""

import hashlib
import json
import re

# What the builder makes up as it goes: digests of generated kernels (`__myl_Mov_0x4f0c...`) and running numbers of layers that
# it put in itself (`__myl_Mov_myl6_0`, `dummy_shape_call__mye539_0_myl58_0`, `Identity_10`).
_GENERATED = re.compile(r"_0x[0-9a-f]{16,}|(?<=myl)\d+_\d+|(?<=mye)\d+|(?<=^Identity_)\d+")

_DATATYPE = re.compile(r"\b(FP32|FP16|BF16|TF32|FP8|INT8|UINT8|INT4|INT32|INT64|Float|Half|BFloat16|Int8|UInt8|Int32|Int64|Bool)\b", re.IGNORECASE)


def fingerprint(report):
    """sha256 over the entries of an inspector report (the JSON text, or what it holds)."""
    lines = json.dumps(entries(report), separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(lines.encode()).hexdigest()


def entries(report):
    """One [layer, precision, tactic, formats] per layer, in execution order."""
    return [_entry(layer) for layer in _layers(report)]


def has_tactics(report):
    """False when the engine was built without detailed profiling, so that its fingerprint is of names alone."""
    return any(isinstance(layer, dict) and (layer.get("TacticName") or layer.get("TacticValue")) for layer in _layers(report))


def kernel_multiset(report):
    """Kernel -> how often; the Jaccard index of two builds is taken over these."""
    counts = {}
    for _, _, tactic, _ in entries(report):
        if tactic:
            counts[tactic] = counts.get(tactic, 0) + 1
    return counts


def jaccard(left, right):
    keys = left.keys() | right.keys()
    union = sum(max(left.get(key, 0), right.get(key, 0)) for key in keys)
    both = sum(min(left.get(key, 0), right.get(key, 0)) for key in keys)
    return both / union if union else 1.0


def differing_layers(left, right):
    """Layers that two builds of one model do differently: present in one only, or with another tactic or format."""
    first = {entry[0]: entry[1:] for entry in entries(left)}
    second = {entry[0]: entry[1:] for entry in entries(right)}
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _layers(report):
    held = json.loads(report) if isinstance(report, str) else report
    return held.get("Layers", []) if isinstance(held, dict) else held


def _entry(layer):
    if isinstance(layer, str):  # profiling verbosity below DETAILED
        return [_plain(layer), [], "", []]
    tensors = [*layer.get("Inputs", []), *layer.get("Outputs", [])]
    tactic = layer.get("TacticName") or layer.get("TacticValue") or layer.get("LayerType", "")
    return [
        _plain(layer.get("Name", "")),
        [_datatype(tensor) for tensor in tensors],
        _plain(str(tactic)),
        [_format(tensor) for tensor in tensors],
    ]


def _datatype(tensor):
    """Out of "Row major linear FP32" or "Half" up to 10.x; a field of its own later."""
    if "Datatype" in tensor:
        return str(tensor["Datatype"])
    words = _DATATYPE.findall(_text(tensor))
    return words[-1].upper() if words else ""


def _format(tensor):
    return str(tensor["Format"]) if "Format" in tensor else _text(tensor)


def _text(tensor):
    return str(tensor.get("Format/Datatype", ""))


def _plain(name):
    return _GENERATED.sub("", name)
