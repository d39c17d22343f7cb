"""ONNX in integers: QuantizeLinear and DequantizeLinear pairs around what a runtime can then compute in integers.

Activations are uint8 with a zero point, weights int8 by output channel, biases int32 (ONNX Runtime, "Quantize ONNX models": u8s8 is the
form with fast kernels on x86-64 and ARM64). Operators that only move values work on the codes themselves, so that it takes no rule of the
runtime to keep them there. Inputs and outputs stay float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import helper

from converters.calibrate.ranges import Range
from converters.errors import UnsupportedOp
from converters.model import Graph, attributes, copied, reads, to_bytes
from converters.passes.linear import linear_weights
from converters.targets.onnx_gates import gate_terms, plain_gates
from converters.targets.onnx_plan import Plan, plan
from converters.targets.onnx_rows import rows_as_dense
from converters.targets.onnx_storage import stored_in_int8
from converters.targets.scales import Scale, activation_scale, least_scales, quantize_bias, quantize_weights
from converters.targets.weighty import weight_axes, weight_axis

_MICROSOFT = "com.microsoft"


def emit_onnx_int8(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str] = frozenset()) -> bytes:
    """The ONNX file. ``ranges`` has the calibrated extent of every float tensor; ``keep_float`` the first-output names of nodes that stay
    float. Raises :class:`UnsupportedOp` for want of a layer."""
    graph, ranges = plain_gates(*rows_as_dense(graph, ranges, keep_float), keep_float)
    made = plan(graph, ranges, lambda extent: activation_scale(extent, signed=False), keep_float)
    return _Emitter(graph, made, "uint8", keep_float).emit()


def emit_onnx_int16x8(graph: Graph, ranges: Mapping[str, Range], keep_float: frozenset[str] = frozenset()) -> bytes:
    """Likewise with activations of 16 bits (uint16) and int8 weights, for accelerators that compute so: on a processor it is slower than
    float. The 16-bit pairs are of the domain com.microsoft, which older releases know too; ONNX has its own from opset 21 on."""
    made = plan(graph, ranges, lambda extent: activation_scale(extent, signed=False, bits=16), keep_float)
    return _Emitter(replace(graph, domains={**graph.domains, _MICROSOFT: 1}), made, "uint16", keep_float).emit()


class _Emitter:
    """A tensor keeps its name for its float values; ``name/codes`` is the same quantized, ``name/real`` the codes of a float one made
    real again, for layers to read."""

    def __init__(self, graph: Graph, made: Plan, dtype: str, keep_float: frozenset[str]) -> None:
        self._graph, self._plan, self._dtype, self._keep_float = graph, made, np.dtype(dtype), keep_float
        self._domain = "" if dtype == "uint8" else _MICROSOFT
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._written = {spec.name for spec in graph.inputs}

    def emit(self) -> bytes:
        if not self._plan.layers:
            raise UnsupportedOp("there is no convolution or dense layer with constant weights to quantize")
        self._store_float_layers()
        for node in self._graph.nodes:
            self._node(node)
        for spec in self._graph.outputs:
            self._float(spec.name)
        return to_bytes(self._graph.edited(self._nodes, self._constants))

    def _node(self, node: Any) -> None:
        name = node.output[0]
        if name in self._plan.absorbed:
            return
        if name in self._plan.moves and self._dtype == np.uint8:
            self._move(node)
        elif name in self._plan.layers:
            self._computed(node, self._layer_inputs(node))
        elif name in self._plan.joins and node.op_type == "HardSigmoid":
            self._gate(node)
        elif name in self._plan.joins or name in self._plan.moves:
            joins = name in self._plan.joins
            self._computed(node, [self._operand(given, constants=joins) for given in node.input])
        else:
            self._pass(node)

    def _pass(self, node: Any) -> None:
        """``node`` as it is, on float values."""
        channels = self._channels(node)
        if channels is not None and node.input[0] in self._plan.coded:
            node = copied(node, inputs=[self._apart(node.input[0], *channels), *node.input[1:]])
        for read in sorted(reads(node)):
            self._float(read)
        self._nodes.append(node)
        self._written.update(node.output)

    def _channels(self, node: Any) -> tuple[int, int] | None:
        """Count and axis of the input channels of a layer with constant weights."""
        weight = self._graph.constants.get(node.input[1]) if node.op_type in ("Conv", "ConvTranspose", "Gemm") else None
        if weight is None:
            return None
        options = attributes(node)
        if node.op_type == "Conv":
            return int(weight.shape[1]) * int(options.get("group", 1)), 1
        if node.op_type == "ConvTranspose":
            return int(weight.shape[0]), 1
        return int(weight.shape[1 if options.get("transB", 0) else 0]), 0 if options.get("transA", 0) else 1

    def _apart(self, name: str, channels: int, axis: int) -> str:
        """The float values of ``name`` for a layer that is to stay float. Newer releases of ONNX Runtime round the weights of a layer
        between a DequantizeLinear and a QuantizeLinear to int8, with one scale for all channels; not so when each channel has a scale."""
        target = f"{name}/apart{axis}"
        if target not in self._written:
            scale = self._plan.scales[name]
            factors = [self._shared(np.full(channels, scale.scale, np.float32))]
            factors.append(self._shared(np.full(channels, scale.zero_point, self._dtype)))
            made = helper.make_node("DequantizeLinear", [self._codes(name), *factors], [target], domain=self._domain, axis=axis)
            self._nodes.append(made)
            self._written.add(target)
        return target

    def _computed(self, node: Any, inputs: list[str]) -> None:
        """``node`` between pairs: what it leaves is coded, or stays as it is."""
        result = self._plan.results.get(node.output[0], node.output[0])
        outputs = [result, *node.output[1:]]
        if result not in self._plan.coded:
            self._nodes.append(copied(node, inputs=inputs))
            self._written.update(outputs)
            return
        self._nodes.append(copied(node, inputs=inputs, outputs=[f"{name}/sum" if name else "" for name in outputs]))
        for name in filter(None, outputs):
            self._quantize(f"{name}/sum", name)

    def _gate(self, node: Any) -> None:
        """A HardSigmoid as the sum inside it: the codes do the cutting off, and a scale of the sum times the factor does the rest."""
        name, (factor, summand) = node.output[0], gate_terms(node)
        scale = self._plan.scales[name]
        self._graph = replace(self._graph, constants={**self._graph.constants, f"{name}/summand": np.array([summand], np.float32)})
        terms = [self._operand(node.input[0]), self._constant(f"{name}/summand")]
        self._nodes.append(helper.make_node("Add", terms, [f"{name}/sum"], node.name))
        factors = self._factors(Scale(scale.scale / factor, scale.zero_point))
        self._pair("QuantizeLinear", f"{name}/sum", factors, f"{name}/codes")

    def _move(self, node: Any) -> None:
        """``node`` on the codes; its output's are as they come."""
        inputs = [self._codes(node.input[0]), *node.input[1:]]
        if node.op_type == "Pad" and (len(inputs) < 3 or not inputs[2] or inputs[2] in self._graph.constants):
            scale, value = self._plan.scales[node.input[0]], self._graph.constants.get(inputs[2]) if len(inputs) > 2 else None
            inputs[2:3] = [f"{node.output[0]}/border"]
            self._constants[inputs[2]] = self._coded(np.zeros(()) if value is None else value.reshape(()), scale)
        for name in inputs[1:]:
            if name:
                self._float(name)
        outputs = [f"{name}/codes" if name else "" for name in node.output]
        self._nodes.append(copied(node, inputs=inputs, outputs=outputs))
        self._written.update(outputs)

    def _layer_inputs(self, node: Any) -> list[str]:
        if node.op_type == "MatMul":
            axis = weight_axis(node, self._graph.constants)
            second = self._operand(node.input[1]) if axis is None else self._weight(node, self._graph.constants[node.input[1]], axis)[0]
            return [self._operand(node.input[0]), second]
        linear = linear_weights(node, self._graph.constants)
        assert linear is not None
        least = least_scales(linear.bias, self._plan.scales[node.input[0]].scale)
        weight, scales = self._weight(node, linear.weight, linear.axis, least)
        inputs = [self._operand(node.input[0]), weight]
        if len(node.input) > 2 and node.input[2]:
            values, factors = quantize_bias(linear.bias, self._plan.scales[node.input[0]].scale, scales)
            inputs.append(self._dequantized(f"{node.output[0]}/bias", values, factors, 0, zeros=node.op_type == "Gemm"))
        return inputs

    def _weight(self, node: Any, array: Any, axis: int, least: Any = 0.0) -> tuple[str, Any]:
        """The name of the dequantized weight, and its scales."""
        made = quantize_weights(array, axis, least)
        return self._dequantized(f"{node.output[0]}/weight", made.values, made.scales, axis, zeros=node.op_type != "Conv"), made.scales

    def _dequantized(self, name: str, values: Any, scales: Any, axis: int, *, zeros: bool) -> str:
        """ONNX takes an absent zero point for 0; ONNX Runtime makes an integer kernel of a Gemm only when the ``zeros`` are written."""
        inputs = [f"{name}_q", self._shared(scales)]
        self._constants[inputs[0]] = values
        if zeros:
            inputs.append(self._shared(np.zeros(len(scales), values.dtype)))
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}_r"], axis=axis))
        return f"{name}_r"

    def _operand(self, name: str, *, constants: bool = False) -> str:
        """What an integer operator reads of tensor ``name``: codes made real. ``constants`` are coded too."""
        if name in self._graph.constants:
            return self._constant(name) if constants and self._graph.constants[name].dtype == np.float32 else name
        if name not in self._plan.scales:
            return name
        return self._real(name) if name in self._plan.coded else self._real(name, f"{name}/real")

    def _constant(self, name: str) -> str:
        array = self._graph.constants[name]
        extent = (float(array.min(initial=0.0)), float(array.max(initial=0.0)))
        scale = activation_scale(extent, signed=False, bits=8 * self._dtype.itemsize)
        factors = self._factors(scale)
        if f"{name}/codes" not in self._constants:
            self._constants[f"{name}/codes"] = self._coded(array, scale)
            self._pair("DequantizeLinear", f"{name}/codes", factors, f"{name}/real")
        return f"{name}/real"

    def _float(self, name: str) -> None:
        """Sees to it that the float values of ``name`` are there."""
        if name in self._plan.coded:
            self._real(name)

    def _real(self, name: str, target: str = "") -> str:
        target = target or name
        if target not in self._written:
            codes = self._codes(name)
            self._pair("DequantizeLinear", codes, self._factors(self._plan.scales[name]), target)
        return target

    def _codes(self, name: str) -> str:
        if f"{name}/codes" not in self._written:
            self._quantize(name, name)
        return f"{name}/codes"

    def _quantize(self, source: str, name: str) -> None:
        self._pair("QuantizeLinear", source, self._factors(self._plan.scales[name]), f"{name}/codes")

    def _pair(self, op: str, source: str, factors: list[str], target: str) -> None:
        self._nodes.append(helper.make_node(op, [source, *factors], [target], domain=self._domain))
        self._written.add(target)

    def _factors(self, scale: Scale) -> list[str]:
        return [self._shared(np.float32(scale.scale)), self._shared(self._dtype.type(scale.zero_point))]

    def _shared(self, array: Any) -> str:
        """The short name of a constant; equal ones are one. There are several for each tensor, and names are most of their bytes."""
        made = np.asarray(array)
        key = (str(made.dtype), made.shape, made.tobytes())
        if key not in self._names:
            self._names[key] = f"q/{len(self._names)}"
            self._constants[self._names[key]] = made
        return self._names[key]

    def _coded(self, array: Any, scale: Scale) -> Any:
        limits = np.iinfo(self._dtype)
        return np.clip(np.rint(array / scale.scale) + scale.zero_point, limits.min, limits.max).astype(self._dtype)

    def _store_float_layers(self) -> None:
        """Weights of layers for which there is no integer kernel are stored in int8 all the same."""
        users = {node.input[1]: node for node in self._graph.nodes if len(node.input) > 1 and node.op_type == "ConvTranspose"}
        axes = {
            name: axis for name, axis in weight_axes(self._graph).items() if name in users and users[name].output[0] not in self._keep_float
        }
        nodes, constants = stored_in_int8(self._graph, axes)
        self._nodes += nodes
        self._constants.update(constants)
        self._graph = replace(self._graph, constants={k: v for k, v in self._graph.constants.items() if f"{k}/stored" not in constants})
