"""The temporary folder of one build and the questions it puts to child processes about models in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.calibrate.collect import float_tensors, instrumented
from converters.calibrate.ranges import Calibration, RangeTable
from converters.calibrate.reject import reject_outliers
from converters.errors import InputError, PassError
from converters.isolate import run_job
from converters.model import Graph
from edge_agent.bundle.manifest import Step
from edge_agent.errors import ModelError
from edge_agent.values import TensorSpec

VET_TIMEOUT_S = 120.0
"""The passes take seconds on networks of hundreds of MiB; shape inference can be made to take hours."""


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """A model that loaded and ran: in which runtime, with which tensors, and every output (samples first) by name."""

    path: Path
    runtime: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    values: dict[str, Any]


class Workshop:
    """Works in ``folder`` with the samples in ``samples`` and the declared ``preprocess`` steps."""

    def __init__(self, folder: Path, samples: Path, preprocess: tuple[Step, ...]) -> None:
        self._folder = folder
        self._common = {
            "samples": str(samples.resolve()),
            "preprocess": [{"op": step.op, "args": dict(step.args)} for step in preprocess],
        }

    def vet(self, model: Path, *, passes: bool) -> None:
        """Raises :class:`InputError` for a model file that ONNX's own native code refuses or crashes on: it runs in our process next."""
        try:
            run_job(self._folder, {"kind": "vet", "what": str(model), "model": str(model), "passes": passes}, timeout_s=VET_TIMEOUT_S)
        except (PassError, ModelError) as error:
            named = str(error).startswith(str(model))
            raise InputError(str(error) if named else f"{model}: {error}") from None

    def specs(self, data: bytes, extension: str) -> tuple[TensorSpec, ...]:
        """The inputs of a model file, as its runtime sees them."""
        path = self._folder / f"original.{extension}"
        path.write_bytes(data)
        return _specs(run_job(self._folder, {"kind": "specs", "what": "the source", "model": str(path)})["inputs"])

    def calibrate(self, graph: Graph, rows: tuple[int, ...]) -> Calibration:
        """Ranges of every float tensor of ``graph`` over the sample ``rows``, outliers left out."""
        model = self._folder / "instrumented.onnx"
        model.write_bytes(instrumented(graph))
        names = float_tensors(graph)
        inputs = [{"name": s.name, "dtype": s.dtype, "shape": s.shape, "scale": s.scale, "zero_point": s.zero_point} for s in graph.inputs]
        job = {"kind": "calibrate", "what": "calibration", "model": str(model), "rows": rows, "names": names, "inputs": inputs}
        run_job(self._folder, {**self._common, **job})
        with np.load(self._folder / "ranges.npz") as held:
            table = RangeTable(names, rows, held["low"], held["high"])
        return reject_outliers(table)

    def prove(self, what: str, data: bytes, extension: str, rows: Sequence[int]) -> Proof:
        """Loads and runs a model file as the device will. Raises ModelError when it does not load, run or survive."""
        path = self._folder / f"{what.replace(' ', '-')}.{extension}"
        path.write_bytes(data)
        answer = run_job(self._folder, {**self._common, "kind": "infer", "what": what, "model": str(path), "rows": list(rows)})
        outputs = _specs(answer["outputs"])
        with np.load(self._folder / "outputs.npz") as held:
            values = {spec.name: held[f"output_{i}"] for i, spec in enumerate(outputs)}
        return Proof(path, answer["runtime"], answer["version"], _specs(answer["inputs"]), outputs, values)

    def time(self, models: Sequence[Path], rows: Sequence[int], *, budget_s: float) -> list[list[float]]:
        """Microseconds of an inference, for each model and round, measured in turn on one thread."""
        job = {"kind": "time", "what": "timing", "models": [str(path) for path in models], "rows": list(rows), "budget_s": budget_s}
        answer = run_job(self._folder, {**self._common, **job})
        return [[float(us) for us in rounds] for rounds in answer["rounds_us"]]


def _specs(trees: Sequence[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t["name"], t["dtype"], tuple(t["shape"]), t["scale"], t["zero_point"]) for t in trees)
