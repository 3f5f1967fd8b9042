"""How much the TensorRT builds of one model differ, measured in one process apart from the gateway.

    python bench/tensorrt/lottery.py REPOSITORY/MODEL --inputs inputs.npz --out result.json [--only tensorrt-]

For every plan under engines/: plan digest, fingerprint, latency over randomly interleaved blocks (copies included, by the
host's clock; kernels alone by CUDA events). For every pair: share of inputs with bit-equal outputs, largest difference,
changed decisions. Decisions are those of model.yaml: arg-max of the first output, or boxes after thresholding and
non-maximum suppression, two sets of boxes being equal when they match one to one at `matchIou`.
"""

import argparse
import ctypes
import hashlib
import itertools
import mmap
import os
import random
import time

import common
import fingerprint as prints
import numpy as np
import yaml
from runner import Binding


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder with model.yaml")
    parser.add_argument("--inputs", required=True, help=".npz, one array per input, first axis the sample")
    parser.add_argument("--only", default="tensorrt-", help="prefix of the engine ids")
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--block", type=int, default=100)
    parser.add_argument("--out", required=True)
    parser.add_argument("--keep-outputs", help="folder for the outputs of every engine as .npz")
    arguments = parser.parse_args()
    common.api.use_configured_libraries()
    machine = common.Machine()
    with open(os.path.join(arguments.model, "model.yaml")) as file:
        model = yaml.safe_load(file)
    folders = {name: os.path.join(arguments.model, "engines", name) for name in os.listdir(os.path.join(arguments.model, "engines")) if name.startswith(arguments.only)}
    names = sorted(folders, key=lambda name: (name.rsplit("-", 1)[0], int(name.rsplit("-", 1)[1])))
    engines = {name: Engine(machine, folders[name]) for name in names}
    inputs = load_inputs(arguments.inputs, engines[names[0]])
    decide = decisions_of(model, engines[names[0]])

    outputs = {name: engine.outputs(inputs) for name, engine in engines.items()}
    again = {name: engine.outputs(inputs) for name, engine in engines.items()}
    decided = {name: [decide(sample) for sample in outputs[name]] for name in names}
    times = latencies(engines, inputs, arguments.blocks, arguments.block)
    result = {
        "model": model["name"],
        "versions": machine.versions(),
        "inputs": {"file": os.path.basename(arguments.inputs), "samples": len(inputs)},
        "engines": [describe(name, engines[name], times[name], outputs[name], again[name]) for name in names],
        "pairs": [compare(a, b, outputs, decided, model) for a, b in itertools.combinations(names, 2)],
        "groups": {group: spread([name for name in names if name.rsplit("-", 1)[0] == group], engines, times, outputs) for group in dict.fromkeys(name.rsplit("-", 1)[0] for name in names)},
    }
    result["differingLayers"] = {f"{a} {b}": prints.differing_layers(engines[a].layers, engines[b].layers)[:20] for a, b in itertools.combinations(names, 2) if a.rsplit("-", 1)[0] == b.rsplit("-", 1)[0]}
    common.write_json(arguments.out, result)
    if arguments.keep_outputs:
        os.makedirs(arguments.keep_outputs, exist_ok=True)
        for name in names:
            np.savez_compressed(os.path.join(arguments.keep_outputs, f"{name}.npz"), **{f"output{i}": np.stack([sample[i] for sample in outputs[name]]) for i in range(len(outputs[name][0]))})
    print_tables(result)


class Engine:
    """One plan with one slot of its own in ordinary memory that is pinned, as a host has it."""

    def __init__(self, machine, folder):
        self.folder = folder
        self.manifest = common.read_manifest(folder)
        self.runner = machine.runner(folder)
        with open(os.path.join(folder, "layers.json")) as file:
            self.layers = file.read()
        ports = [*self.runner.inputs, *self.runner.outputs]
        self.memory = mmap.mmap(-1, sum(-(-port.capacity // 256) * 256 for port in ports))
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.runner.attach(address, len(self.memory))
        places, self.views, at = [], [], 0
        for port in ports:
            places.append((address + at, port.shape))
            count = port.capacity // np.dtype(_DTYPES[port.datatype]).itemsize
            self.views.append(np.frombuffer(self.memory, _DTYPES[port.datatype], count, at).reshape(port.shape))
            at += -(-port.capacity // 256) * 256
        split = len(self.runner.inputs)
        self.binding = Binding(self.runner, [(i, *place) for i, place in enumerate(places[:split])], [(i, *place) for i, place in enumerate(places[split:])])
        self.split = split

    def feed(self, sample):
        for view, value in zip(self.views, sample):
            view[...] = value

    def outputs(self, inputs):
        got = []
        for sample in inputs:
            self.feed(sample)
            for view in self.views[self.split :]:
                view[...] = 0
            self.binding.run()
            got.append([view.copy() for view in self.views[self.split :]])
        return got


_DTYPES = {"FP32": "<f4", "FP16": "<f2", "INT8": "i1", "UINT8": "u1", "INT32": "<i4", "INT64": "<i8", "BOOL": "?"}


def load_inputs(path, engine):
    """[[array per input] per sample]; uint8 images count as 0..1, as in the demo model's samples."""
    with np.load(path, allow_pickle=False) as held:
        arrays = []
        for port in engine.runner.inputs:
            array = held[port.name]
            array = array.astype(np.float32) / np.float32(255) if array.dtype == np.uint8 and port.datatype == "FP32" else array
            arrays.append(array)
    return [[array[i].reshape(port.shape) for array, port in zip(arrays, engine.runner.inputs)] for i in range(len(arrays[0]))]


def latencies(engines, inputs, blocks, block):
    """Engine and device nanoseconds per engine and block, blocks of all engines in random order."""
    times = {name: {"engine": [], "device": []} for name in engines}
    for engine in engines.values():
        engine.feed(inputs[0])
        for _ in range(200):
            engine.binding.run()
    for _ in range(blocks):
        for name in random.sample(list(engines), len(engines)):
            engine = engines[name]
            for _ in range(20):
                engine.binding.run()
            rows = [engine.binding.run() for _ in range(block)]
            times[name]["engine"].append([row[0] for row in rows])
            times[name]["device"].append([row[1] for row in rows])
    return times


def describe(name, engine, times, outputs, again):
    plan = os.path.join(engine.folder, engine.manifest["artifact"]["file"])
    return {
        "id": name,
        "precision": engine.manifest["precision"],
        "planSha256": engine.manifest["artifact"]["sha256"],
        "planBytes": os.path.getsize(plan),
        "fingerprint": engine.manifest["fingerprint"],
        "function": digest(outputs),
        "buildSeconds": engine.manifest["buildSeconds"],
        "layers": len(prints.entries(engine.layers)),
        "selfBitEqual": sum(same(a, b) for a, b in zip(outputs, again)),
        "graph": engine.runner.why_no_graph or "yes",
        "engine": common.summary([t for row in times["engine"] for t in row]),
        "device": common.summary([t for row in times["device"] for t in row]),
    }


def digest(outputs):
    """The function as far as these inputs show it."""
    held = hashlib.sha256()
    for sample in outputs:
        for array in sample:
            held.update(array.tobytes())
    return held.hexdigest()


def same(first, second):
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second))


def compare(a, b, outputs, decided, model):
    differences = [max(float(np.max(np.abs(x.astype(np.float64) - y.astype(np.float64)))) for x, y in zip(first, second)) for first, second in zip(outputs[a], outputs[b])]
    changed = sum(not agree(first, second, model) for first, second in zip(decided[a], decided[b]))
    return {
        "a": a, "b": b, "samples": len(differences),
        "bitEqual": sum(same(first, second) for first, second in zip(outputs[a], outputs[b])),
        "changed": changed, "maxAbs": max(differences), "medianAbs": float(np.median(differences)),
    }  # fmt: skip


def decisions_of(model, engine):
    """model.yaml's task as a function from outputs to a decision."""
    detection = model.get("detection")
    if not detection:
        return lambda sample: int(np.argmax(sample[0]))
    names = [port.name for port in engine.runner.outputs]
    scores_at, boxes_at = names.index(detection["scores"]), names.index(detection["boxes"])

    def decide(sample):
        scores, boxes = sample[scores_at][0], sample[boxes_at][0]
        background = detection.get("background")
        kept = []
        for label in range(scores.shape[1]):
            if label == background:
                continue
            chosen = np.flatnonzero(scores[:, label] > detection["scoreThreshold"])
            kept += [(label, box) for box in suppress(boxes[chosen], scores[chosen, label], detection["nmsIou"])]
        return kept

    return decide


def suppress(boxes, scores, limit):
    """Greedy non-maximum suppression; best first, earlier index first among equals."""
    left, kept = list(np.argsort(-scores, kind="stable")), []
    while left:
        best, left = left[0], left[1:]
        kept.append(boxes[best])
        left = [other for other in left if iou(boxes[best], boxes[other]) <= limit]
    return kept


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def agree(first, second, model):
    if not model.get("detection"):
        return first == second
    if len(first) != len(second):
        return False
    rest = list(second)
    for label, box in first:
        found = next((i for i, (other, there) in enumerate(rest) if other == label and iou(box, there) >= model["detection"]["matchIou"]), None)
        if found is None:
            return False
        rest.pop(found)
    return True


def spread(names, engines, times, outputs):
    """X1 to X3 of one group of builds: spread of medians and p99, between-build share of block medians, distinct counts."""
    medians = {name: [float(np.median(row)) for row in times[name]["engine"]] for name in names}
    flat = {name: [t for row in times[name]["engine"] for t in row] for name in names}
    p50 = [common.quantile(flat[name], 0.5) for name in names]
    p99 = [common.quantile(flat[name], 0.99) for name in names]
    kernels = [prints.kernel_multiset(engines[name].layers) for name in names]
    pairs = [prints.jaccard(a, b) for a, b in itertools.combinations(kernels, 2)]
    return {
        "builds": len(names),
        "distinctPlans": len({engines[name].manifest["artifact"]["sha256"] for name in names}),
        "distinctFingerprints": len({engines[name].manifest["fingerprint"] for name in names}),
        "distinctFunctions": len({digest(outputs[name]) for name in names}),
        "p50SpreadRatio": round(max(p50) / min(p50), 4),
        "p99SpreadRatio": round(max(p99) / min(p99), 4),
        "betweenBuildShare": between_share([medians[name] for name in names]),
        "kernelJaccardMean": round(float(np.mean(pairs)), 4) if pairs else None,
    }


def between_share(groups):
    """X2, the intraclass correlation of block medians."""
    if len(groups) < 2:
        return None
    n = len(groups[0])
    within = float(np.mean([np.var(group, ddof=1) for group in groups]))
    between = max(0.0, float(np.var([np.mean(group) for group in groups], ddof=1)) - within / n)
    return round(between / (between + within), 4) if between + within else None


def print_tables(result):
    print(f"\n{result['model']}: {result['inputs']['samples']} inputs, TensorRT {result['versions']['tensorrt']}, {result['versions']['name']}")
    for engine in result["engines"]:
        print(f"{engine['id']:20} plan {engine['planSha256'][:8]} {engine['planBytes']:9} B  fingerprint {engine['fingerprint'][:8]}  function {engine['function'][:8]}  build {engine['buildSeconds']:6.1f} s  "
              f"p50 {engine['engine']['p50']:7.1f} p99 {engine['engine']['p99']:7.1f}  device p50 {engine['device']['p50']:7.1f} us  self {engine['selfBitEqual']}/{result['inputs']['samples']}  graph {engine['graph']}")  # fmt: skip
    for name, group in result["groups"].items():
        print(f"{name}: {group}")
    for pair in result["pairs"]:
        print(f"{pair['a']:20} {pair['b']:20} bit-equal {pair['bitEqual']:4}/{pair['samples']}  changed {pair['changed']:4}  max abs {pair['maxAbs']:.3g}")


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s")
