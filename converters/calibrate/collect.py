"""A streaming pass over the calibration samples: per tensor and sample only its minimum and maximum are kept.

Memory is one sample's activations plus eight bytes for each tensor and sample. Runs in a process of its own, see ``job``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.calibrate.ranges import RangeTable
from converters.model import Graph, proto_of
from converters.shapes import infer_shapes
from edge_agent.errors import ModelError
from edge_agent.runtimes.environment import prepare_environment

Run = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Every tensor by name from the inputs by name."""


ENDLESS = 0.1
"""Of the samples; in fewer it is the sample that is wrong."""


def float_tensors(graph: Graph) -> tuple[str, ...]:
    """Every float32 tensor that samples change: inputs, then node outputs in order."""
    known = infer_shapes(graph)
    names = [spec.name for spec in graph.inputs if spec.dtype == "float32"]
    written = [name for node in graph.nodes for name in node.output if name]
    return tuple(names + [name for name in written if name in known and known[name].dtype == "float32"])


def instrumented(graph: Graph) -> bytes:
    """The model with every float tensor as an output."""
    shown = graph.output_names() | {spec.name for spec in graph.inputs}
    extra = [name for name in float_tensors(graph) if name not in shown]
    return bytes(proto_of(graph, extra_outputs=extra).SerializeToString(deterministic=True))


def collect_ranges(model: Path, names: tuple[str, ...], feeds: Iterable[Mapping[str, Any]], rows: tuple[int, ...]) -> RangeTable:
    """Runs the instrumented ``model`` on each of ``feeds``. Raises :class:`ModelError` when it is refused."""
    return range_table(names, rows, runs(open_model(model), feeds))


def range_table(names: tuple[str, ...], rows: tuple[int, ...], found: Iterable[Mapping[str, Any]]) -> RangeTable:
    """The table of what was ``found`` in each tensor, one mapping a row. Tensors that hold NaN or infinity in more than ``ENDLESS`` of the
    rows (scores that a mask rules out) have no range and are not in it."""
    low, high = np.empty((len(rows), len(names)), np.float32), np.empty((len(rows), len(names)), np.float32)
    for index, values in enumerate(found):
        for column, name in enumerate(names):
            low[index, column], high[index, column] = _extent(values[name])
    endless = ~(np.isfinite(low) & np.isfinite(high))
    finite = np.flatnonzero(endless.mean(axis=0) <= ENDLESS) if rows else np.arange(len(names))
    return RangeTable(tuple(names[at] for at in finite), rows, low[:, finite], high[:, finite])


def runs(run: Run, feeds: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Every tensor by name, inputs too, for each of ``feeds``."""
    for feed in feeds:
        yield {**feed, **run(feed)}


def _extent(value: Any) -> tuple[float, float]:
    return (float(value.min()), float(value.max())) if value.size else (0.0, 0.0)


def open_model(model: Path) -> Run:
    """The model without graph optimization, which would fuse away the tensors that are to be seen."""
    prepare_environment()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exception types are private to it
        raise ModelError(f"the model cannot be run for calibration: {str(error).splitlines()[0][:300]}") from error
    names = [output.name for output in session.get_outputs()]

    def run(feed: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return dict(zip(names, session.run(names, dict(feed)), strict=True))
        except Exception as error:  # as above
            raise ModelError(f"the model cannot be run for calibration: {str(error).splitlines()[0][:300]}") from error

    return run
