"""The child of ``isolate``: loads models through the device's own runtime code and runs, measures or calibrates them.

``python -m converters.job FOLDER``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.calibrate.collect import float_tensors
from converters.calibrate.observe import Plan, as_tree, observe
from converters.gather.gather import gather
from converters.gather.said import from_tree
from converters.inference import Answer, answered, as_json, infer_all, loaded, spec_of
from converters.load import load_source
from converters.passes.run import run_passes
from converters.samples import Samples
from converters.state import Stream, fed
from converters.state import from_tree as from_state
from converters.timing import measure
from edge_agent.bundle.manifest import Step
from edge_agent.clock import SystemClock
from edge_agent.values import TensorSpec


def infer(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Every sample through one model; outputs are left in ``outputs.npz``, one array a tensor, samples along the first axis."""
    state = from_state(job["state"])
    runtime = loaded(job["model"], state, job["sizes"])
    samples = _samples(job, fed(runtime.inputs, state))
    return infer_all(runtime, samples.feeds(job["rows"]), len(job["rows"]), folder, state, samples.starts(job["rows"]))


def feeds(folder: Path, job: Mapping[str, Any]) -> Answer:
    """What :func:`infer` would feed to a model with these ``inputs``, left in ``feed_N.npy``, samples along the first axis."""
    inputs = fed(tuple(spec_of(tree) for tree in job["inputs"]), from_state(job["state"]))
    held: list[Any] = []
    samples = _samples(job, inputs)
    for row, feed in enumerate(samples.feeds(job["rows"])):
        arrays = [feed[spec.name] for spec in inputs]
        held = held or [_file_for(folder / f"feed_{i}.npy", array, len(job["rows"])) for i, array in enumerate(arrays)]
        for file, array in zip(held, arrays, strict=True):
            file[row] = array
    return {"feeds": [spec.name for spec in inputs], "starts": samples.starts(job["rows"])}


def vet(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Everything native code does to a model before it runs: parsing, checking, shape inference, the passes."""
    source = load_source(Path(job["model"]))
    if source.graph is not None and job["passes"]:
        float_tensors(run_passes(source.graph)[0])
    return {}


def check_passes(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Whether the passes keep what the network in ``job["model"]`` computes, on made-up inputs."""
    from converters.passes.prove import prove_passes

    source = load_source(Path(job["model"]))
    assert source.graph is not None
    return {"skipped": prove_passes(source.graph)}


def specs(folder: Path, job: Mapping[str, Any]) -> Answer:
    """The inputs and outputs of one model."""
    runtime = loaded(job["model"], from_state(job["state"]), job["sizes"])
    return {"inputs": [as_json(spec) for spec in runtime.inputs], "outputs": [as_json(spec) for spec in runtime.outputs]}


def collect(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Samples that are tables, pictures or sounds, gathered into the file that every other job reads: decoders are native code."""
    inputs = tuple(spec_of(tree) for tree in job["inputs"])
    gather(Path(job["from"]), from_tree(job["said"]), job["classes"], inputs, Path(job["samples"]))
    return {}


def calibrate(folder: Path, job: Mapping[str, Any]) -> Answer:
    """What the ``plan`` asks for; the means by channel are left in ``means.npz``, in the order of its axes."""
    inputs = tuple(spec_of(tree) for tree in job["inputs"])
    asked = job["plan"]
    plan = Plan(tuple(asked["names"]), asked["axes"], tuple(asked["growing"]), tuple(asked["inputs"]))
    found = observe(Path(job["model"]), plan, _samples(job, inputs).feeds, tuple(job["rows"]), job["calibrator"])
    arrays: dict[str, Any] = {f"mean_{i}": found.means[name] for i, name in enumerate(plan.axes)}
    np.savez(folder / "means.npz", **arrays)
    return as_tree(found)


def time(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Latencies of several models, measured in turn."""
    state = from_state(job["state"])
    runtimes = [loaded(path, state, job["sizes"]) for path in job["models"]]
    runs = []
    for runtime in runtimes:
        stream = Stream(runtime, state)
        feeds = [stream.feed(0, arrays) for arrays in _samples(job, fed(runtime.inputs, state)).feeds(job["rows"])]
        runs.append((runtime.run, feeds))
    return {"rounds_us": measure(runs, SystemClock(), budget_s=job["budget_s"])}


def prune(folder: Path, job: Mapping[str, Any]) -> Answer:
    """Narrower networks, see :mod:`converters.prune.job`; imported only where it is asked for."""
    from converters.prune.job import prune as narrow

    return narrow(folder, job)


JOBS: Mapping[str, Callable[[Path, Mapping[str, Any]], Answer]] = {
    "vet": vet,
    "check_passes": check_passes,
    "specs": specs,
    "infer": infer,
    "feeds": feeds,
    "collect": collect,
    "calibrate": calibrate,
    "prune": prune,
    "time": time,
}


def _samples(job: Mapping[str, Any], inputs: tuple[TensorSpec, ...]) -> Samples:
    steps = tuple(Step(step["op"], step["args"]) for step in job["preprocess"])
    return Samples(Path(job["samples"]), inputs, steps)


def _file_for(path: Path, array: Any, rows: int) -> Any:
    return np.lib.format.open_memmap(path, "w+", array.dtype, (rows, *array.shape))


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    return answered(folder, lambda job: JOBS[job["kind"]](folder, job))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
