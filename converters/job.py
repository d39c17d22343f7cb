"""The child of ``isolate``: loads models through the device's own runtime code and runs, measures or calibrates them.

``python -m converters.job FOLDER``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.calibrate.collect import float_tensors
from converters.calibrate.observe import as_tree, observe
from converters.errors import InputError
from converters.isolate import KINDS
from converters.load import load_source
from converters.passes.run import run_passes
from converters.samples import Samples
from converters.timing import measure
from edge_agent.bundle.manifest import Step
from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeError, ModelError
from edge_agent.runtimes.choose import load_model_file
from edge_agent.values import TensorSpec

Answer = dict[str, Any]

MAX_OUTPUT_BYTES = 1 << 30
"""Of one model on all evaluation samples; original and candidate are held side by side for the comparison."""


def infer(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Every sample through one model; outputs are left in ``outputs.npz``, one array a tensor, samples along the first axis."""
    runtime = load_model_file(Path(job["model"]), threads=1)
    feeds = _samples(job, runtime.inputs).feeds(job["rows"])
    kept: dict[str, list[Any]] = {spec.name: [] for spec in runtime.outputs}
    first: Mapping[str, Any] = {}
    for feed in feeds:
        for name, array in runtime.run(feed).items():
            kept[name].append(np.array(array))
        if not first:
            first = feed
            _check_room(kept, len(job["rows"]))
    again = runtime.run(first)
    if not all(_same(arrays[0], again[name]) for name, arrays in kept.items()):
        raise ModelError(
            "answers the same question differently later: it draws random numbers, or keeps a state from one question to the next; "
            "export it without, or with the state as inputs and outputs"
        )
    arrays: dict[str, Any] = {f"output_{i}": np.stack(kept[spec.name]) for i, spec in enumerate(runtime.outputs)}
    np.savez(folder / "outputs.npz", **arrays)
    return {
        "runtime": runtime.name,
        "version": runtime.version,
        "inputs": [_as_json(spec) for spec in runtime.inputs],
        "outputs": [_as_json(spec) for spec in runtime.outputs],
    }


def vet(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Everything native code does to a model before it runs: parsing, checking, shape inference, the passes."""
    source = load_source(Path(job["model"]))
    if source.graph is not None and job["passes"]:
        float_tensors(run_passes(source.graph)[0])
    return {}


def specs(folder: Path, job: Mapping[str, Any]) -> Answer:
    """The inputs of one model."""
    return {"inputs": [_as_json(spec) for spec in load_model_file(Path(job["model"]), threads=1).inputs]}


def calibrate(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Ranges of the tensors ``names``; the means of those in ``axes`` by channel are left in ``means.npz``, in that order."""
    inputs = tuple(_spec(tree) for tree in job["inputs"])
    feeds = _samples(job, inputs).feeds
    found = observe(Path(job["model"]), job["axes"], tuple(job["names"]), feeds, tuple(job["rows"]), job["calibrator"])
    arrays: dict[str, Any] = {f"mean_{i}": found.means[name] for i, name in enumerate(job["axes"])}
    np.savez(folder / "means.npz", **arrays)
    return as_tree(found)


def time(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Latencies of several models, measured in turn."""
    runtimes = [load_model_file(Path(path), threads=1) for path in job["models"]]
    runs = []
    for runtime in runtimes:
        feeds = list(_samples(job, runtime.inputs).feeds(job["rows"]))
        runs.append((runtime.run, feeds))
    return {"rounds_us": measure(runs, SystemClock(), budget_s=job["budget_s"])}


JOBS: Mapping[str, Callable[[Path, Mapping[str, Any]], Answer]] = {
    "vet": vet,
    "specs": specs,
    "infer": infer,
    "calibrate": calibrate,
    "time": time,
}


def _samples(job: Mapping[str, Any], inputs: tuple[TensorSpec, ...]) -> Samples:
    steps = tuple(Step(step["op"], step["args"]) for step in job["preprocess"])
    return Samples(Path(job["samples"]), inputs, steps)


def _spec(tree: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(tree["name"], tree["dtype"], tuple(tree["shape"]), tree["scale"], tree["zero_point"])


def _as_json(spec: TensorSpec) -> Answer:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape), "scale": spec.scale, "zero_point": spec.zero_point}


def _check_room(kept: Mapping[str, list[Any]], rows: int) -> None:
    each = sum(arrays[0].nbytes for arrays in kept.values())
    if each * rows > MAX_OUTPUT_BYTES:
        raise InputError(
            f"the outputs of {rows} evaluation samples have {each * rows >> 20} MiB, at most {MAX_OUTPUT_BYTES >> 20} MiB are kept; "
            f"give --evaluation {max(MAX_OUTPUT_BYTES // each, 1)}"
        )


def _same(one: Any, other: Any) -> bool:
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True))


def limit_memory() -> None:
    """A model that asks for more than this machine has gets a clear refusal from the allocator, before the whole machine suffers."""
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = have if hard == resource.RLIM_INFINITY else min(have, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def main(arguments: list[str]) -> int:
    limit_memory()
    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text())
    try:
        answer = JOBS[job["kind"]](folder, job)
    except (EdgeError, MemoryError) as error:
        kind = type(error).__name__ if type(error).__name__ in KINDS else "ModelError"
        answer = {"error": f"{error}" or "out of memory", "kind": kind}
    (folder / "result.json").write_text(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
