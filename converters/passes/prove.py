"""Whether passes kept what the network computes: before and after are run on the same made-up inputs and must answer alike.

Runs ONNX Runtime, so only in a child process. The whole chain is compared at once; only when that fails are the graphs between looked at,
by halving, to name the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from converters.errors import PassError
from converters.model import Graph, to_bytes
from converters.passes.contract import Pass
from converters.passes.run import STANDARD, stages
from edge_agent.errors import ModelError
from edge_agent.runtimes.environment import prepare_environment

Feed = Mapping[str, Any]
Answers = list[dict[str, Any]]

INPUTS = 2
MAX_BYTES = 1 << 30
"""Of constants; larger networks are left to the comparison with real samples that every build makes."""
_TOLERANCE = 1e-3
_TOLERANCE_HALF = 3e-2  # float16 has eleven bits
_ROUNDING = 1e-5
"""What float32 sums before a sigmoid or softmax leave in its answer, however small that is."""
_ASSUMED = 4
"""Size of a free dimension other than the first."""


def prove_passes(graph: Graph, passes: Sequence[Pass] = STANDARD, *, seed: int = 0) -> str:
    """Raises :class:`PassError` naming the first pass that changed the answers though it promises not to.

    Gives why nothing was compared, or an empty text: made-up inputs mean nothing to some networks (indices out of range, sizes that do
    not go together), which then refuse them or answer with what is no number.
    """
    graphs: list[tuple[str, Graph]] = [("none", graph)]
    reason = ""
    for step, after in stages(graph, passes):
        if not step.equivalent:
            reason = reason or _prove_chain(graphs, seed)
            graphs = [(step.name, after)]
        elif after is not graphs[-1][1]:
            graphs.append((step.name, after))
    return reason or _prove_chain(graphs, seed)


def _prove_chain(graphs: Sequence[tuple[str, Graph]], seed: int) -> str:
    """The first graph against the others, the last one first."""
    if len(graphs) < 2:
        return ""
    before = graphs[0][1]
    if sum(array.nbytes for array in before.constants.values()) > MAX_BYTES:
        return f"its constants have more than {MAX_BYTES >> 20} MiB"
    feeds = _made_up(graphs[-1][1], seed)
    try:
        wanted = _answers(before, feeds)
    except ModelError as error:
        return str(error)
    if not all(np.isfinite(array).all() for answer in wanted for array in answer.values() if array.dtype.kind == "f"):
        return "it answers made-up inputs with what is no number"

    def differs(place: int) -> str:
        return check_equivalent(graphs[place][1], wanted, feeds)

    if differs(len(graphs) - 1):
        place = _first(len(graphs) - 1, lambda at: bool(differs(at)))
        done = ", ".join(name for name, _ in graphs[1:place]) or "none"
        raise PassError(f"pass {graphs[place][0]} changed what the network computes ({differs(place)}); passes before it: {done}")
    return ""


def check_equivalent(after: Graph, wanted: Answers, feeds: Sequence[Feed]) -> str:
    """How the answers of ``after`` differ from those ``wanted``; empty when they are the same up to rounding.

    Whole-number answers are not compared: an index of the largest may rightly change with the last bit.
    """
    try:
        given = _answers(after, feeds)
    except ModelError as error:
        return str(error)
    for want, have in zip(wanted, given, strict=True):
        for name, array in want.items():
            if array.dtype.kind != "f":
                continue
            if have[name].shape != array.shape:
                return f"output {name} has shape {have[name].shape} instead of {array.shape}"
            share = _TOLERANCE_HALF if array.dtype == np.float16 else _TOLERANCE
            gap = _largest(have[name].astype(np.float64) - array)
            if not gap <= max(share * _largest(array), _ROUNDING):
                return f"output {name} is off by {gap:.3g} where {_largest(array):.3g} is the largest value"
    return ""


def _first(last: int, wrong: Callable[[int], bool]) -> int:
    """The smallest place from 1 to ``last`` that is wrong, given that ``last`` is and that what is wrong stays so."""
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wrong(middle) else (middle + 1, high)
    return low


def _largest(array: Any) -> float:
    return float(np.abs(array.astype(np.float64)).max()) if array.size else 0.0


def _made_up(graph: Graph, seed: int) -> list[dict[str, Any]]:
    """Normal numbers; whole ones are 0 or 1, which most indices and lengths allow."""
    random = np.random.default_rng(seed)
    feeds = []
    for _ in range(INPUTS):
        feed = {}
        for spec in graph.inputs:
            shape = [(_ASSUMED if axis else 1) if size is None else size for axis, size in enumerate(spec.shape)]
            values = random.normal(0, 1, shape) if spec.dtype.startswith("float") else random.integers(0, 2, shape)
            feed[spec.name] = np.asarray(values, spec.dtype)
        feeds.append(feed)
    return feeds


def _answers(graph: Graph, feeds: Sequence[Feed]) -> Answers:
    prepare_environment()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    names = [spec.name for spec in graph.outputs]
    try:
        session = onnxruntime.InferenceSession(to_bytes(graph), options, providers=["CPUExecutionProvider"])
        return [dict(zip(names, session.run(names, dict(feed)), strict=True)) for feed in feeds]
    except Exception as error:  # the runtime's own exception types are private to it
        raise ModelError(f"it does not run on made-up inputs: {(str(error).splitlines() or [''])[0][:300]}") from error
