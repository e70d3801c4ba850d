"""An ONNX graph for pictures of any size, put together from graphs that need multiples of their strides."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from ..io.photo_sources import MIN_SIDE

_MODES = {"reflect": "reflect", "replicate": "edge"}


class OnnxGraph:
    """Collects nodes; every method takes and gives names of values, ``(batch, channels, height, width)``."""

    def __init__(self, opset: int, ir_version: int) -> None:
        self.opset, self.ir_version = opset, ir_version
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, channels: int) -> str:
        """Declare an input, float32."""
        self.inputs.append(_pictures(name, channels))
        return name

    def output(self, value: str, name: str, channels: int) -> None:
        """Declare a value as an output, float32."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(_pictures(name, channels))

    def sizes(self, value: str) -> str:
        """Height and width of a value, ``int64[2]``."""
        return self._node("Shape", [value], start=2)

    def pad(self, value: str, sizes: str, multiple: tuple[int, int], mode: str) -> str:
        """Continue a value downwards and to the right until its sides are multiples."""
        step = self._constant(np.array(multiple, np.int64))
        before = self._constant(np.zeros(6, np.int64))  # none before, none after batch and channels
        # A small photo is mirrored as often as it takes; one mirroring adds its size less one at most.
        reach, rounds = MIN_SIDE, 1
        while mode == "reflect" and reach < max(multiple):
            reach, rounds = 2 * reach - 1, rounds + 1
        for number in range(rounds):
            now = self.sizes(value) if number else sizes
            missing = self._node("Mod", [self._node("Neg", [now]), step])  # ONNX's Mod has the sign of the divisor
            if rounds > 1:
                most = self._node("Sub", [now, self._constant(np.ones(2, np.int64))])
                missing = self._node("Min", [missing, most])
            value = self._node("Pad", [value, self._node("Concat", [before, missing], axis=0)], mode=_MODES[mode])
        return value

    def crop(self, value: str, sizes: str) -> str:
        """The upper left of a value."""
        start, axes = self._constant(np.zeros(2, np.int64)), self._constant(np.array([2, 3], np.int64))
        return self._node("Slice", [value, start, sizes, axes])

    def add(self, model: onnx.ModelProto, prefix: str, inputs: list[str]) -> str:
        """Take in the graph of a model with one output, fed with these values; its names get the prefix."""
        graph = compose.add_prefix(model, f"{prefix}/").graph
        for value, declared in zip(inputs, graph.input, strict=True):
            self.nodes.append(helper.make_node("Identity", [value], [declared.name]))
        self.nodes += graph.node
        self.initializers += graph.initializer
        return graph.output[0].name

    def finish(self) -> onnx.ModelProto:
        """The model, checked."""
        graph = helper.make_graph(self.nodes, "motion_offsets", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version)
        model.producer_name = "motion-offsets"
        onnx.checker.check_model(model)
        return model

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = self._name()
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, array: np.ndarray) -> str:
        name = self._name()
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"value_{self._count}"


def _pictures(name: str, channels: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, "height", "width"])
