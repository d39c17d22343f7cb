"""Where the time of an ONNX model goes, by ONNX Runtime's own profiler. A pass of its own: profiling itself costs microseconds a node."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edge_agent.errors import ModelError
from edge_agent.runtimes.onnx import import_onnxruntime, session_options
from edge_agent.runtimes.options import RuntimeOptions
from edge_agent.runtimes.tensors import first_line

_KERNEL = "_kernel_time"


def node_times(path: Path, options: RuntimeOptions, feeds: Sequence[Mapping[str, Any]], runs: int) -> list[tuple[str, str, float]]:
    """(operator, node, microseconds of an inference) for each node that ran, the slowest first; on the processor.

    Nodes are those of the optimized graph: fused ones go by the name of one of their parts. Raises :class:`ModelError`.
    """
    ort = import_onnxruntime()
    with tempfile.TemporaryDirectory(prefix="edge-profile-") as folder:
        settings = session_options(ort, options)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "nodes")
        try:
            session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
            for index in range(runs + 1):
                session.run(None, dict(feeds[index % len(feeds)]))
            events = json.loads(Path(session.end_profiling()).read_text())
        except Exception as error:  # the runtime's own exception types are private to it
            raise ModelError(f"{path.name}: cannot be profiled: {first_line(error)}") from error
    return middle_times(events)


def middle_times(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    """What a profile says: for each node the median over inferences, the first (which pays for what the runtime put off) left out. Nodes
    of inner graphs are in the time of their loop or branch, and are told besides."""
    runs: list[dict[tuple[str, str], float]] = []
    now: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        name = str(event.get("name", ""))
        if name == "model_run":  # told when it is over
            runs.append(now)
            now = defaultdict(float)
        elif event.get("cat") == "Node" and name.endswith(_KERNEL):
            now[str(event["args"].get("op_name", "")), name.removesuffix(_KERNEL)] += float(event["dur"])
    counted = runs[1:] or runs
    nodes = {node for run in counted for node in run}
    rows = [(op, node, median(run.get((op, node), 0.0) for run in counted)) for op, node in nodes]
    return sorted(rows, key=lambda row: (-row[2], row[1]))
