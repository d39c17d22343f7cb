"""The child of ``isolate``: loads models through the device's own runtime code and runs, measures or calibrates them.

``python -m converters.job FOLDER``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.calibrate.collect import collect_ranges
from converters.errors import InputError
from converters.samples import Samples
from converters.timing import measure
from edge_agent.bundle.manifest import Step
from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeError
from edge_agent.runtimes.choose import load_model_file
from edge_agent.values import TensorSpec

Answer = dict[str, Any]


def infer(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Every sample through one model; outputs are left in ``outputs.npz``, one array a tensor, samples along the first axis."""
    runtime = load_model_file(Path(job["model"]), threads=1)
    feeds = _samples(job, runtime.inputs).feeds(job["rows"])
    kept: dict[str, list[Any]] = {spec.name: [] for spec in runtime.outputs}
    for feed in feeds:
        for name, array in runtime.run(feed).items():
            kept[name].append(np.array(array))
    arrays: dict[str, Any] = {f"output_{i}": np.stack(kept[spec.name]) for i, spec in enumerate(runtime.outputs)}
    np.savez(folder / "outputs.npz", **arrays)
    return {
        "runtime": runtime.name,
        "version": runtime.version,
        "inputs": [_as_json(spec) for spec in runtime.inputs],
        "outputs": [_as_json(spec) for spec in runtime.outputs],
    }


def specs(folder: Path, job: Mapping[str, Any]) -> Answer:
    """The inputs of one model."""
    return {"inputs": [_as_json(spec) for spec in load_model_file(Path(job["model"]), threads=1).inputs]}


def calibrate(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Ranges of the tensors ``names``, left in ``ranges.npz``."""
    inputs = tuple(_spec(tree) for tree in job["inputs"])
    rows = tuple(job["rows"])
    table = collect_ranges(Path(job["model"]), tuple(job["names"]), _samples(job, inputs).feeds(rows), rows)
    np.savez(folder / "ranges.npz", low=table.low, high=table.high)
    return {}


def time(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Latencies of several models, measured in turn."""
    runtimes = [load_model_file(Path(path), threads=1) for path in job["models"]]
    runs = []
    for runtime in runtimes:
        feeds = list(_samples(job, runtime.inputs).feeds(job["rows"]))
        runs.append((runtime.run, feeds))
    return {"rounds_us": measure(runs, SystemClock(), budget_s=job["budget_s"])}


JOBS: Mapping[str, Callable[[Path, Mapping[str, Any]], Answer]] = {"specs": specs, "infer": infer, "calibrate": calibrate, "time": time}


def _samples(job: Mapping[str, Any], inputs: tuple[TensorSpec, ...]) -> Samples:
    steps = tuple(Step(step["op"], step["args"]) for step in job["preprocess"])
    return Samples(Path(job["samples"]), inputs, steps)


def _spec(tree: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(tree["name"], tree["dtype"], tuple(tree["shape"]), tree["scale"], tree["zero_point"])


def _as_json(spec: TensorSpec) -> Answer:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape), "scale": spec.scale, "zero_point": spec.zero_point}


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text())
    try:
        answer = JOBS[job["kind"]](folder, job)
    except (EdgeError, MemoryError) as error:
        kind = type(error).__name__ if isinstance(error, InputError) or type(error).__module__ == "edge_agent.errors" else "ModelError"
        answer = {"error": f"{error}" or "out of memory", "kind": kind}
    (folder / "result.json").write_text(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
