"""Inputs from photographs: three brightnesses, mirrored or not, whole or cropped, so twelve from each.

    python bench/tensorrt/photographs.py FOLDER... --out inputs.npz --name input --size 240x320 [--mean 127 --scale 0.0078125]

Pixels become (value - mean) * scale in RGB, NCHW, as `preprocess` of model.yaml says.
"""

import argparse
import hashlib
import pathlib

import numpy as np
from PIL import Image, ImageEnhance


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--name", default="input")
    parser.add_argument("--size", default="240x320", help="height x width")
    parser.add_argument("--mean", type=float, nargs="+", default=[127.0])
    parser.add_argument("--scale", type=float, nargs="+", default=[1 / 128])
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split("x"))
    mean, scale = (np.array(values, np.float32) for values in (arguments.mean, arguments.scale))
    files = sorted(path for folder in arguments.folders for path in pathlib.Path(folder).glob("*.jpg"))
    arrays = []
    for file in files:
        for picture in variants(Image.open(file).convert("RGB")):
            pixels = np.asarray(picture.resize((width, height), Image.BILINEAR), np.float32)
            arrays.append(((pixels - mean) * scale).transpose(2, 0, 1))
    held = np.stack(arrays).astype(np.float32)
    np.savez(arguments.out, **{arguments.name: held})
    print(f"{arguments.out}: {held.shape} from {len(files)} photographs, sha256 of the array {hashlib.sha256(held.tobytes()).hexdigest()}")


def variants(image):
    width, height = image.size
    cropped = image.crop((width // 10, height // 10, width - width // 10, height - height // 10))
    for framed in (image, cropped):
        for turned in (framed, framed.transpose(Image.FLIP_LEFT_RIGHT)):
            for brightness in (0.6, 1.0, 1.4):
                yield ImageEnhance.Brightness(turned).enhance(brightness)


if __name__ == "__main__":
    main()
