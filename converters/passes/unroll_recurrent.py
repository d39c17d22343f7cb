"""LSTM, GRU and RNN layers of a fixed number of steps, written out step by step in plain operators.

Every runtime computes those, and quantizes them with ranges of their own. The weights of all steps are the same constants. Sources: ONNX,
operators LSTM, GRU and RNN (gates in the orders i o f c and z r h); Hochreiter and Schmidhuber 1997; Cho et al. 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.model import Graph, attributes, reads
from converters.passes.contract import Pass
from converters.passes.draft import Draft
from converters.passes.recurrent_cells import CELLS, Cell
from converters.shapes import infer_shapes
from edge_agent.values import TensorSpec

MAX_STEPS = 128


def unroll_recurrent(graph: Graph) -> Graph:
    if not any(node.op_type in CELLS for node in graph.nodes):
        return graph
    shapes, read = infer_shapes(graph), {name for node in graph.nodes for name in reads(node)} | graph.output_names()
    kept: list[Any] = []
    added: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op_type not in CELLS or why_not_unrolled(node, graph.constants, shapes):
            kept.append(node)
            continue
        draft = Draft(next(name for name in node.output if name))
        _unrolled(draft, node, graph.constants, shapes, read)
        kept += draft.nodes
        added.update(draft.constants)
    return graph.edited(kept, added) if added else graph


def why_not_unrolled(node: Any, constants: Mapping[str, Any], shapes: Mapping[str, TensorSpec]) -> str:
    """What keeps a recurrent layer from being written out; empty when nothing does."""
    spec, options = shapes.get(node.input[0]), attributes(node)
    if spec is None or len(spec.shape) != 3 or None in spec.shape:
        return "the length of its sequence is not fixed"
    if int(spec.shape[0] or 0) > MAX_STEPS:
        return f"it has {spec.shape[0]} steps, at most {MAX_STEPS} are written out"
    if any(name and name not in constants for name in node.input[1:4]) or len(node.input) < 3:
        return "its weights are not constants"
    lengths = node.input[4] if len(node.input) > 4 else ""
    if lengths and (lengths not in constants or set(constants[lengths].reshape(-1).tolist()) != {spec.shape[0]}):
        return "its sequences have lengths of their own"
    if len(node.input) > 7 and node.input[7]:
        return "it has peepholes"
    if options.get("layout", 0) or options.get("clip", 0) or options.get("input_forget", 0):
        return "layout, clip and input_forget are not written"
    usual = {"LSTM": [b"Sigmoid", b"Tanh", b"Tanh"], "GRU": [b"Sigmoid", b"Tanh"], "RNN": [b"Tanh"]}[node.op_type]
    given = list(options.get("activations", usual))
    return "" if given == usual * (len(given) // len(usual)) else "its activations are not the usual ones"


def _unrolled(draft: Draft, node: Any, constants: Mapping[str, Any], shapes: Mapping[str, TensorSpec], read: set[str]) -> None:
    steps, batch, width = (int(size or 0) for size in shapes[node.input[0]].shape)
    weights, options = constants[node.input[1]], attributes(node)
    turns, hidden = len(weights), int(options["hidden_size"])
    direction = bytes(options.get("direction", b"forward")).decode()
    states = [_initial(draft, node, position, (turns, batch, hidden)) for position in (5, 6)]
    flat = draft.reshape(node.input[0], (steps * batch, width))
    outputs: list[list[str]] = []
    ends: list[tuple[str, ...]] = []
    for turn in range(turns):
        cell = CELLS[node.op_type](draft, _layer(node, constants, turn), hidden, bool(options.get("linear_before_reset", 0)))
        backwards = direction == "reverse" or turn == 1
        made, end = _walk(draft, cell, flat, (steps, batch), (states[0][turn], states[1][turn]), backwards)
        outputs.append(made)
        ends.append(end)
    names = [*node.output, "", "", ""][:3]
    if names[0] in read:
        whole = [draft.reshape(_joined(draft, made, 0), (steps, 1, batch, hidden)) for made in outputs]
        draft.reshape(_joined(draft, whole, 1), (steps, turns, batch, hidden), output=names[0])
    for place, name in enumerate(names[1:]):
        if name in read:
            last = [draft.reshape(end[place], (1, batch, hidden)) for end in ends]
            draft.reshape(_joined(draft, last, 0), (turns, batch, hidden), output=name)


def _layer(node: Any, constants: Mapping[str, Any], turn: int) -> tuple[Any, Any, Any]:
    """Weights, recurrent weights and both biases (``None`` when absent) of one direction."""
    bias = constants[node.input[3]][turn] if len(node.input) > 3 and node.input[3] else None
    return constants[node.input[1]][turn], constants[node.input[2]][turn], bias


def _initial(draft: Draft, node: Any, position: int, shape: tuple[int, int, int]) -> list[str]:
    """The state before the first step for each direction; empty names where it is zero."""
    if len(node.input) <= position or not node.input[position]:
        return [""] * shape[0]
    parts = draft.parts(node.input[position], 0, [1] * shape[0])
    return [draft.reshape(part, shape[1:]) for part in parts]


def _walk(
    draft: Draft, cell: Cell, flat: str, size: tuple[int, int], state: tuple[str, ...], backwards: bool
) -> tuple[list[str], tuple[str, ...]]:
    """The output of every step in order of time, and the state after the last one taken."""
    steps, batch = size
    inputs = draft.parts(cell.inputs(flat), 0, [batch] * steps)
    made = [""] * steps
    for step in reversed(range(steps)) if backwards else range(steps):
        state = cell.step(inputs[step], state)
        made[step] = state[0]
    return made, state


def _joined(draft: Draft, names: list[str], axis: int) -> str:
    return names[0] if len(names) == 1 else draft.node("Concat", *names, axis=axis)


UNROLL_RECURRENT = Pass("unroll_recurrent", unroll_recurrent)
"""Equivalent. For targets without recurrent operators that quantize."""
