"""Trains the demo model on rendered signs; writes model.onnx and samples/ beside model.yaml.

    python train.py             renders samples and training set, trains, exports, measures
    python train.py --samples   renders the samples anew and measures the model that is there
    python train.py --measure   only measures
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from onnx import TensorProto, helper, numpy_helper

import signs

SEED = 20240917
TRAIN = 30_000
CHECK = 2_000  # held out while the recipe was chosen; the test sets played no part in that
TEST = 1_000
EPOCHS = 12
BATCH = 100
PEAK_RATE = 4e-3
DECAY = 2e-4
SMOOTHING = 0.02
OPSET = 13
IR = 8

# name, kernel, stride, padding, channels in, channels out, max pooling afterwards
LAYERS = [
    ("conv1", 5, 2, 2, 3, 32, False),
    ("conv2", 3, 1, 1, 32, 48, True),
    ("conv3", 3, 1, 1, 48, 64, True),
    ("conv4", 3, 1, 1, 64, 96, True),
]
FEATURES = 96 * 3 * 3
GALLERY = [
    "stop",
    "yield",
    "no-entry",
    "speed-limit-50",
    "priority-road",
    "turn-left",
    "roundabout",
    "children",
]


# --- the network --------------------------------------------------------------------------------


def initial(rng):
    """Weights, and the running means and variances that batch normalisation keeps."""
    weights, running = {}, {}
    for name, kernel, _, _, inputs, outputs, _ in LAYERS:
        fan = kernel * kernel * inputs
        shape = (kernel, kernel, inputs, outputs)
        weights[name] = {
            "w": rng.normal(0, np.sqrt(2 / fan), shape).astype(np.float32),
            "gain": np.ones(outputs, np.float32),
            "bias": np.zeros(outputs, np.float32),
        }
        running[name] = {"mean": np.zeros(outputs, np.float32), "var": np.ones(outputs, np.float32)}
    classes = len(signs.LABELS)
    weights["dense"] = {
        "w": rng.normal(0, np.sqrt(1 / FEATURES), (FEATURES, classes)).astype(np.float32),
        "bias": np.zeros(classes, np.float32),
    }
    return weights, running


EPSILON = 1e-5


def make_network():
    import jax
    import jax.numpy as jnp

    def forward(weights, running, x, training):
        """Logits of x [N,H,W,C] in 0..1, and the batch's means and variances."""
        seen = {}
        for name, _, stride, pad, _, _, pool in LAYERS:
            layer = weights[name]
            x = jax.lax.conv_general_dilated(
                x, layer["w"], (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            if training:
                mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
                seen[name] = {"mean": mean, "var": var}
            else:
                mean, var = running[name]["mean"], running[name]["var"]
            x = (x - mean) * (layer["gain"] * jax.lax.rsqrt(var + EPSILON)) + layer["bias"]
            x = jnp.maximum(x, 0)
            if pool:
                n, h, w, c = x.shape
                x = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)  # the order Flatten gives in NCHW
        return x @ weights["dense"]["w"] + weights["dense"]["bias"], seen

    def loss(weights, x, target):
        logits, seen = forward(weights, None, x, True)
        return -(target * jax.nn.log_softmax(logits)).sum(1).mean(), seen

    @jax.jit
    def step(weights, running, first, second, pixels, labels, shift, light, rate, count):
        """One Adam step with decoupled weight decay on a batch of uint8 [N,H,W,C]."""
        x = pixels.astype(jnp.float32) / 255
        padded = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        move = lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), (signs.SIZE, signs.SIZE, 3))
        x = jax.vmap(move)(padded, shift)
        x = jnp.clip(x * light[:, None, None, :], 0, 1)
        classes = len(signs.LABELS)
        target = jax.nn.one_hot(labels, classes) * (1 - SMOOTHING) + SMOOTHING / classes
        (value, seen), slope = jax.value_and_grad(loss, has_aux=True)(weights, x, target)
        running = jax.tree.map(lambda old, new: 0.97 * old + 0.03 * new, running, seen)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, slope)
        one, two = 1 - 0.9**count, 1 - 0.999**count

        def moved(w, m, v):
            decay = DECAY * w if w.ndim > 1 else 0.0
            return w - rate * ((m / one) / (jnp.sqrt(v / two) + 1e-8) + decay)

        return jax.tree.map(moved, weights, first, second), running, first, second, value

    @jax.jit
    def scores(weights, running, pixels):
        logits, _ = forward(weights, running, pixels.astype(jnp.float32) / 255, False)
        return jax.nn.softmax(logits)

    return step, scores


def train(pixels, labels, check_pixels, check_labels):
    """Weights and running statistics after EPOCHS, from uint8 [N,C,H,W]."""
    import jax

    step, scores = make_network()
    rng = np.random.default_rng([SEED, 0])
    weights, running = initial(rng)
    zeros = jax.tree.map(np.zeros_like, weights)
    first, second = zeros, zeros
    pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    check_pixels = check_pixels.transpose(0, 2, 3, 1)
    per_epoch = len(pixels) // BATCH
    total, count = EPOCHS * per_epoch, 0
    start = time.time()
    for epoch in range(EPOCHS):
        order = rng.permutation(len(pixels))
        value = 0.0
        for b in range(per_epoch):
            chosen = order[b * BATCH : (b + 1) * BATCH]
            count += 1
            warm = min(1.0, count / 300)
            rate = PEAK_RATE * warm * 0.5 * (1 + np.cos(np.pi * count / total)) + 1e-6
            shift = rng.integers(0, 5, (BATCH, 2))
            light = np.exp(rng.normal(0, 0.15, (BATCH, 1)) + rng.normal(0, 0.05, (BATCH, 3))).astype(np.float32)
            weights, running, first, second, latest = step(
                weights, running, first, second, pixels[chosen], labels[chosen], shift, light, rate, float(count)
            )
            value += float(latest)
        guess = np.asarray(scores(weights, running, check_pixels)).argmax(1)
        print(
            f"epoch {epoch + 1:2d}  loss {value / per_epoch:.4f}  held-out accuracy "
            f"{(guess == check_labels).mean():.4f}  {time.time() - start:.0f} s",
            flush=True,
        )
    to_numpy = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), tree)
    return to_numpy(weights), to_numpy(running), scores


# --- the ONNX file ------------------------------------------------------------------------------


def export(weights, running, path):
    """Writes the network with batch normalisation folded into the convolutions."""
    nodes, constants, value = [], [], "image"
    for name, kernel, stride, pad, _, _, pool in LAYERS:
        layer, stats = weights[name], running[name]
        factor = layer["gain"].astype(np.float64) / np.sqrt(stats["var"].astype(np.float64) + EPSILON)
        folded = (layer["w"] * factor).transpose(3, 2, 0, 1)
        bias = layer["bias"] - stats["mean"] * factor
        constants.append(numpy_helper.from_array(np.ascontiguousarray(folded, np.float32), f"{name}.weight"))
        constants.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"))
        nodes.append(
            helper.make_node(
                "Conv",
                [value, f"{name}.weight", f"{name}.bias"],
                [f"{name}.out"],
                name,
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[pad, pad, pad, pad],
            )
        )
        value = f"{name}.relu"
        nodes.append(helper.make_node("Relu", [f"{name}.out"], [value], value))
        if pool:
            nodes.append(
                helper.make_node(
                    "MaxPool", [value], [f"{name}.pool"], f"{name}.pool", kernel_shape=[2, 2], strides=[2, 2]
                )
            )
            value = f"{name}.pool"
    constants.append(numpy_helper.from_array(np.ascontiguousarray(weights["dense"]["w"].T), "dense.weight"))
    constants.append(numpy_helper.from_array(weights["dense"]["bias"], "dense.bias"))
    nodes.append(helper.make_node("Flatten", [value], ["features"], "flatten", axis=1))
    nodes.append(helper.make_node("Gemm", ["features", "dense.weight", "dense.bias"], ["logits"], "dense", transB=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], "softmax", axis=1))
    classes = len(signs.LABELS)
    graph = helper.make_graph(
        nodes,
        "traffic-signs",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, signs.SIZE, signs.SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
        constants,
    )
    model = helper.make_model(
        graph, producer_name="crosscheck", ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


# --- measuring ----------------------------------------------------------------------------------


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answers(engine, pixels):
    rows = [engine.run(["scores"], {"image": image[None].astype(np.float32) / 255})[0][0] for image in pixels]
    return np.stack(rows)


def report(path, scores=None):
    """Prints what the README states, from the samples that lie beside the model."""
    engine = session(path)
    print(f"model.onnx sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}  {path.stat().st_size} bytes")
    for name in ("clean", "corrupted"):
        file = path.parent / "samples" / f"{name}.npz"
        data = np.load(file)
        pixels, labels = data["image"], data["labels"]
        got = answers(engine, pixels)
        right = got.argmax(1) == labels
        print(f"{name}: {len(labels)} samples, accuracy {right.mean():.4f}, {file.stat().st_size} bytes")
        print(f"  sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}")
        if name == "corrupted":
            cells = [signs.corruption_of(i) for i in range(len(labels))]
            for kind in signs.KINDS:
                parts = [right[[c == (kind, s) for c in cells]].mean() for s in range(3)]
                print(f"  {kind:10s} " + "  ".join(f"{p:.2f}" for p in parts))
        else:
            for c in np.argsort([right[labels == c].mean() for c in range(len(signs.LABELS))])[:6]:
                print(f"  {signs.LABELS[c]:20s} {right[labels == c].mean():.2f}")
        if scores is not None:
            theirs = scores(pixels)
            print(f"  largest difference between framework and onnxruntime {np.abs(theirs - got).max():.2e}")
    image = {"image": np.load(path.parent / "samples" / "clean.npz")["image"][:1].astype(np.float32) / 255}
    times = []
    for _ in range(3000):
        start = time.perf_counter()
        engine.run(None, image)
        times.append(time.perf_counter() - start)
    p50, p99 = np.percentile(times[500:], [50, 99])
    print(f"onnxruntime, one thread: p50 {p50 * 1e3:.3f} ms, p99 {p99 * 1e3:.3f} ms")
    for picture in sorted((path.parent / "samples").glob("*.png")):
        pixels = np.asarray(Image.open(picture).convert("RGB")).transpose(2, 0, 1)
        row = answers(engine, pixels[None])[0]
        print(f"  {picture.name:24s} {signs.LABELS[row.argmax()]} {row.max():.3f}")


def write_samples(folder, pool):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("clean", "corrupted"):
        pixels, labels = signs.samples(SEED, name, TEST, pool)
        np.savez_compressed(folder / f"{name}.npz", image=pixels, labels=labels)
    for name in GALLERY:
        signs.sample(SEED, "gallery", signs.LABELS.index(name)).save(folder / f"{name}.png", optimize=True)


def write_request(picture, path):
    """A V2 request in JSON for one picture, ready for curl; asks for the three likeliest signs."""
    pixels = np.asarray(Image.open(picture).convert("RGB")).transpose(2, 0, 1)
    data = [round(value / 255, 6) for value in pixels.ravel().tolist()]
    tensor = {"name": "image", "shape": [1, *pixels.shape], "datatype": "FP32", "data": data}
    wanted = {"name": "scores", "parameters": {"classification": 3}}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"inputs": [tensor], "outputs": [wanted]}, separators=(",", ":")) + "\n")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--samples", action="store_true", help="leave model.onnx as it is")
    arguments.add_argument("--measure", action="store_true", help="leave every file as it is")
    arguments.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent)
    given = arguments.parse_args()
    model = given.out / "model.onnx"
    if given.measure:
        report(model)
        return
    start = time.time()
    with multiprocessing.get_context("spawn").Pool() as pool:
        write_samples(given.out / "samples", pool)
        write_request(given.out / "samples" / "stop.png", given.out / "requests" / "stop.json")
        print(f"samples rendered after {time.time() - start:.0f} s", flush=True)
        if given.samples:
            report(model)
            return
        pixels, labels = signs.samples(SEED, "train", TRAIN, pool)
        held, held_labels = signs.samples(SEED, "check", CHECK, pool)
        print(f"{TRAIN} training pictures after {time.time() - start:.0f} s", flush=True)
    weights, running, network = train(pixels, labels, held, held_labels)
    export(weights, running, model)
    report(model, lambda x: np.asarray(network(weights, running, x.transpose(0, 2, 3, 1))))
    print(f"all of it took {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
