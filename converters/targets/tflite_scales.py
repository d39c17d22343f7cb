"""The scale of every tensor of a TensorFlow Lite file computed in integers, as its kernels want them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from converters.calibrate.ranges import Range
from converters.model import Graph
from converters.targets.scales import Scale
from converters.targets.tflite_ops.table import SAME_SCALE


def tensor_scales(
    graph: Graph, ranges: Mapping[str, Range], choose: Callable[[Range], Scale], fixed: Mapping[str, Scale]
) -> dict[str, Scale]:
    """``choose`` makes a scale of a calibrated extent; ``fixed`` has the scale of what an operator gives where its kernel demands one."""
    ranges = {**ranges, **_joint_ranges(graph, ranges)}
    scales = {spec.name: choose(ranges[spec.name]) for spec in graph.inputs if spec.name in ranges}
    for node in graph.nodes:
        for name in node.output:
            if node.op_type in SAME_SCALE and node.input[0] in scales:
                scales[name] = scales[node.input[0]]
            elif node.op_type in fixed:
                scales[name] = fixed[node.op_type]
            elif name in ranges:
                scales[name] = choose(ranges[name])
    return scales


def _joint_ranges(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The steps of a recurrent layer read with the same weights: what they read has one range, so that they share biases too."""
    readers: dict[str, set[str]] = {}
    for node in graph.nodes:
        if node.op_type == "Gemm" and node.input[1] in graph.constants and node.input[0] in ranges:
            readers.setdefault(node.input[1], set()).add(node.input[0])
    groups = [names for names in readers.values() if len(names) > 1]
    return {name: (min(ranges[n][0] for n in names), max(ranges[n][1] for n in names)) for names in groups for name in names}
