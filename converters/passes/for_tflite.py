"""What a network goes through for TensorFlow Lite alone, after the passes for every target."""

from __future__ import annotations

from converters.errors import PassError, UnsupportedOp
from converters.model import Graph, copied
from converters.passes.contract import Pass
from converters.passes.drop_identity import DROP_IDENTITY
from converters.passes.fold_affine import FOLD_AFFINE
from converters.passes.fold_constants import FOLD_CONSTANTS
from converters.passes.fold_shapes import FOLD_SHAPES
from converters.passes.plain_operators import PLAIN_OPERATORS
from converters.passes.run import run_passes
from converters.passes.unroll_recurrent import UNROLL_RECURRENT
from converters.passes.widen_windows import WIDEN_WINDOWS

FOR_TFLITE: tuple[Pass, ...] = (
    FOLD_SHAPES,
    FOLD_CONSTANTS,
    UNROLL_RECURRENT,
    WIDEN_WINDOWS,
    DROP_IDENTITY,
    PLAIN_OPERATORS,
    FOLD_AFFINE,
)


def expanded(graph: Graph) -> Graph:
    """``graph`` in operators that TensorFlow Lite has; itself when nothing has to change. Raises :class:`UnsupportedOp`."""
    try:
        return run_passes(graph, FOR_TFLITE)[0]
    except PassError as error:
        raise UnsupportedOp(f"{error}; try --target onnx") from error


def with_expansion(graph: Graph) -> Graph:
    """``graph`` with the tensors of :func:`expanded` beside its own: one calibration then has the ranges of both.

    Tensors of one name have one value in both, so that what ``graph`` computes already is not written again.
    """
    try:
        other = expanded(graph)
    except UnsupportedOp:  # said again where TensorFlow Lite is written; other targets do not need it
        return graph
    if other is graph:
        return graph
    known = {name for node in graph.nodes for name in node.output if name}
    added = [copied(node) for node in other.nodes if not known.issuperset(name for name in node.output if name)]
    for node in added:
        node.name = f"{node.output[0]}/expanded"  # a copy with other inputs, such as a widened one, has its first one's name
    return graph.edited([*graph.nodes, *added], other.constants)
