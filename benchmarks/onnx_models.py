"""An exported model in onnxruntime beside the same one in PyTorch, with plain twins and with our kernels, in turns.

    python benchmarks/onnx_models.py [--width 1280 --height 720 --rounds 5 --threads 2 --models ma-dmphn]

CPU, float32. The export itself takes a minute or two. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from timing import medians

from motion_offsets.interchange.model_export import export_model, load_exportable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--models", nargs="+", default=["etraj-quadratic", "ma-dmphn"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    photo = np.random.default_rng(0).random((1, 3, arguments.height, arguments.width), dtype=np.float32)
    image = torch.from_numpy(photo).contiguous(memory_format=torch.channels_last)
    rows = {}
    for name in arguments.models:
        model = load_exportable(name)
        with tempfile.TemporaryDirectory() as folder:
            path = export_model(model, Path(folder) / "model.onnx").path
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def in_torch(kernels: str, model: torch.nn.Module = model) -> None:
            os.environ["MOTION_OFFSETS_KERNELS"] = kernels
            with torch.inference_mode():
                model(image)

        def in_onnxruntime(session: onnxruntime.InferenceSession = session) -> None:
            session.run(None, {"pixel_values": photo})

        calls = {
            "plain": lambda run=in_torch: run("plain"),
            "kernels": lambda run=in_torch: run(""),
            "onnxruntime": in_onnxruntime,
        }
        taken = {key: round(1e3 * seconds, 1) for key, seconds in medians(calls, arguments.rounds).items()}
        ratios = {key: round(taken["onnxruntime"] / taken[key], 2) for key in ("plain", "kernels")}
        rows[name] = {"ms": taken, "times_as_fast_as_onnxruntime": ratios}
        print(f"{name}: {rows[name]}", flush=True)
    print(json.dumps({"size": f"{arguments.width}x{arguments.height}", "threads": arguments.threads, **rows}))


if __name__ == "__main__":
    main()
