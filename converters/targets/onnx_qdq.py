"""ONNX in int8: QuantizeLinear and DequantizeLinear pairs around what a runtime can then compute in integers.

Activations are uint8 with a zero point, weights int8 by output channel, biases int32 (ONNX Runtime, "Quantize ONNX models": u8s8 is the
form with fast kernels on x86-64 and ARM64). Operators that are not known here pass through in float. Inputs and outputs stay float.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import helper

from converters.calibrate.ranges import Range
from converters.errors import UnsupportedOp
from converters.model import Graph, attributes, copied, to_bytes
from converters.passes.linear import LINEAR_OPS, linear_weights
from converters.targets.scales import Scale, activation_scale, quantize_bias, quantize_weights, spread_scales

MOVING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that only move values: output scale is input scale."""
JOINING = ("Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid", "Tanh", "LeakyRelu")
"""Operators with integer kernels of their own."""
RECTIFIERS = ("Relu", "Clip")


def emit_onnx_int8(graph: Graph, ranges: Mapping[str, Range]) -> bytes:
    """The ONNX file. ``ranges`` has the calibrated extent of every float tensor. Raises :class:`UnsupportedOp` for want of a layer."""
    return _Emitter(graph, ranges).emit()


class _Emitter:
    def __init__(self, graph: Graph, ranges: Mapping[str, Range]) -> None:
        self._graph = graph
        self._consumers = graph.consumers()
        self._producers = graph.producers()
        self._shown = graph.output_names()
        self._linear = [n for n in graph.nodes if n.op_type in LINEAR_OPS and linear_weights(n, graph.constants) is not None]
        self._linear = [n for n in self._linear if n.input[0] in ranges and _result(n, self._consumers, self._shown) in ranges]
        self._scales = self._choose(ranges)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def emit(self) -> bytes:
        if not self._linear:
            raise UnsupportedOp("there is no convolution or dense layer with constant weights to quantize")
        linear = {id(node) for node in self._linear}
        for spec in self._graph.inputs:
            self._wrap(spec.name)
        for node in self._graph.nodes:
            inputs = [self._read(name) for name in node.input]
            if id(node) in linear:
                inputs[1:] = self._weights(node)
            outputs = [self._written(name) for name in node.output]
            self._nodes.append(copied(node, inputs=inputs, outputs=outputs))
            for name in node.output:
                self._wrap(name)
        return to_bytes(self._graph.edited(self._nodes, self._constants))

    def _choose(self, ranges: Mapping[str, Range]) -> dict[str, Scale]:
        """A scale for every tensor that is to be quantized."""
        names: list[str] = []
        for node in self._linear:
            names += [node.input[0], *([] if self._stays_float(node) else [_result(node, self._consumers, self._shown)])]
        pairs: list[tuple[str, str]] = []
        chosen = set(names)
        for node in self._graph.nodes:
            if node.op_type in MOVING and node.input[0] in chosen and len(node.output) == 1:
                pairs.append((node.input[0], node.output[0]))
                chosen.add(node.output[0])
            elif node.op_type in JOINING and self._joins(node, chosen, ranges):
                names += [name for name in (*node.input, _result(node, self._consumers, self._shown)) if name in ranges]
                chosen |= set(names)
        scales = {name: activation_scale(ranges[name], signed=False) for name in names if name in ranges}
        return spread_scales(scales, pairs)

    def _stays_float(self, node: Any) -> bool:
        """A dense layer that ends the network gives its float sum as it is: one rounding less, at no cost."""
        return node.op_type == "Gemm" and node.output[0] in self._shown and node.output[0] not in self._consumers

    def _joins(self, node: Any, chosen: set[str], ranges: Mapping[str, Range]) -> bool:
        changing = [name for name in node.input if name and name not in self._graph.constants]
        if node.op_type in ("Add", "Mul") and len(changing) != 2:
            return False
        return all(name in chosen for name in changing) and _result(node, self._consumers, self._shown) in ranges

    def _weights(self, node: Any) -> list[str]:
        """Names of the dequantized weight and bias of ``node``."""
        linear = linear_weights(node, self._graph.constants)
        assert linear is not None
        stem = node.output[0]
        weight = quantize_weights(linear.weight, linear.axis)
        zeros = node.op_type == "Gemm"
        names = [self._dequantized(f"{stem}/weight_q", weight.values, weight.scales, linear.axis, zeros=zeros)]
        if len(node.input) > 2 and node.input[2]:
            values, scales = quantize_bias(linear.bias, self._scales[node.input[0]].scale, weight.scales)
            names.append(self._dequantized(f"{stem}/bias_q", values, scales, 0, zeros=zeros))
        return names

    def _dequantized(self, name: str, values: Any, scales: Any, axis: int, *, zeros: bool) -> str:
        """ONNX takes an absent zero point for 0; ONNX Runtime makes an integer kernel of a Gemm only when the ``zeros`` are written."""
        inputs = [name, f"{name}/scale"]
        self._constants.update({name: values, inputs[1]: scales})
        if zeros:
            inputs.append(f"{name}/zero")
            self._constants[inputs[2]] = np.zeros(len(scales), values.dtype)
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}/real"], axis=axis))
        return f"{name}/real"

    def _wrap(self, name: str) -> None:
        """After tensor ``name``: quantize it and make it real again; readers take the latter."""
        scale = self._scales.get(name)
        if scale is None:
            return
        factors = [f"{name}/scale", f"{name}/zero"]
        self._constants.update({factors[0]: np.float32(scale.scale), factors[1]: np.uint8(scale.zero_point)})
        self._nodes.append(helper.make_node("QuantizeLinear", [self._written(name), *factors], [f"{name}/codes"]))
        self._nodes.append(helper.make_node("DequantizeLinear", [f"{name}/codes", *factors], [self._read(name)]))

    def _read(self, name: str) -> str:
        """What readers of tensor ``name`` read now; the name of an output of the model stays."""
        return f"{name}/real" if name in self._scales and name not in self._shown else name

    def _written(self, name: str) -> str:
        return f"{name}/float" if name in self._scales and name in self._shown else name


def _result(node: Any, consumers: Mapping[str, list[Any]], shown: frozenset[str]) -> str:
    """The tensor to quantize after ``node``: what a rectifier right behind it gives, since the two become one integer operation."""
    name = str(node.output[0])
    after = consumers.get(name, [])
    if (
        len(after) == 1
        and after[0].op_type in RECTIFIERS
        and name not in shown
        and not (attributes(after[0]) and after[0].op_type == "Relu")
    ):
        return str(after[0].output[0])
    return name
