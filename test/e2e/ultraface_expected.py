"""What onnxruntime's own Python package makes of the photographs: the inputs, and the outputs to hold a server to.

The exports list their initializers as inputs. onnxruntime folds nothing then, and its last bits differ by 1.4e-5 from
those of the same network with constants, which is what Crosscheck compiles; so they are made constants here too.

usage: ultraface_expected.py MODEL.onnx IMAGES OUT   writes OUT/<n>.<name>.f32 and prints one line of JSON
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image

model, images, out = sys.argv[1:]
network = onnx.load(model)
network.ir_version = max(network.ir_version, 4)  # the first in which an initializer need not be an input
constants = {initializer.name for initializer in network.graph.initializer}
for value in [value for value in network.graph.input if value.name in constants]:
    network.graph.input.remove(value)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
shapes = {}
files = sorted(Path(images).glob("*.jpg"))
for number, file in enumerate(files):
    pixels = np.asarray(Image.open(file).convert("RGB").resize((320, 240)), dtype=np.float32)
    tensor = ((pixels - 127) / 128).transpose(2, 0, 1)[None].astype(np.float32)
    arrays = {"input": tensor, **dict(zip(names, session.run(None, {"input": tensor})))}
    for name, array in arrays.items():
        array.astype("<f4").tofile(Path(out) / f"{number}.{name}.f32")
        shapes[name] = list(array.shape)
print(json.dumps({"images": len(files), "shapes": shapes}))
