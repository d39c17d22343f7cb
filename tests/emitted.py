"""What the targets emit, run in the device's runtimes and looked into."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as words
from tiny_nets import feeds

from converters.calibrate.collect import collect_ranges, float_tensors, instrumented
from converters.calibrate.ranges import Calibration
from converters.calibrate.reject import reject_outliers
from converters.model import Graph
from edge_agent.runtimes.choose import load_model_file


def calibrated(graph: Graph, shape: tuple[int, ...], folder: Path) -> Calibration:
    path = folder / "instrumented.onnx"
    path.write_bytes(instrumented(graph))
    samples = feeds(shape, 64)
    return reject_outliers(collect_ranges(path, float_tensors(graph), samples, tuple(range(len(samples)))))


def run(data: bytes, name: str, graph: Graph, shape: tuple[int, ...], folder: Path) -> np.ndarray:
    path = folder / name
    path.write_bytes(data)
    runtime = load_model_file(path)
    assert runtime.inputs == graph.inputs
    assert [(s.name, s.dtype, s.shape) for s in runtime.outputs] == [(s.name, s.dtype, s.shape) for s in graph.outputs]
    return np.stack([runtime.run(feed)[graph.outputs[0].name] for feed in feeds(shape, 12, seed=9)])


def noise_db(reference: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10((reference**2).sum() / max(((reference - other) ** 2).sum(), 1e-20)))


def written(data: bytes) -> Counter[str]:
    """How often each operator stands in a TensorFlow Lite file."""
    names = {number: name for name, number in vars(words.BuiltinOperator).items() if isinstance(number, int)}
    model = words.ModelT.InitFromPackedBuf(data, 0)
    codes = [names[code.builtinCode] for code in model.operatorCodes]
    return Counter(codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators)
