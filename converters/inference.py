"""All samples through one model, and how the process that did it leaves its answer. Needs only numpy and the runtime."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.isolate import KINDS
from converters.state import Stream, outputs_of, sized
from edge_agent.bundle.manifest import StateSpec
from edge_agent.errors import EdgeError, ModelError
from edge_agent.ports import Runtime
from edge_agent.runtimes.choose import load_model_file
from edge_agent.runtimes.tflite import TfliteRuntime
from edge_agent.values import TensorSpec

Answer = dict[str, Any]

MAX_OUTPUT_BYTES = 1 << 30
"""Of one model on all evaluation samples; original and candidate are held side by side for the comparison."""


def infer_all(
    runtime: Runtime,
    feeds: Iterable[Mapping[str, Any]],
    count: int,
    folder: Path,
    state: StateSpec | None = None,
    starts: Collection[int] = (0,),
) -> Answer:
    """Every one of ``count`` feeds through ``runtime``, with ``state`` kept between them and fresh at ``starts``; outputs are left in
    ``outputs.npz``, one array a tensor, samples along the first axis. Raises :class:`ModelError` for a model that does not answer the same
    twice, :class:`InputError` for outputs without end."""
    kept: dict[str, list[Any]] = {spec.name: [] for spec in runtime.outputs}
    first: Mapping[str, Any] = {}
    stream = Stream(runtime, state, starts)
    for position, fed in enumerate(feeds):
        feed = stream.feed(position, fed)
        answer = runtime.run(feed)
        for name, array in answer.items():
            kept[name].append(np.array(array))
        stream.hear(answer)
        if not first:
            first = feed
            check_room(kept, count)
    stream.begin()
    again = runtime.run(first)
    if not all(_same(arrays[0], again[name]) for name, arrays in kept.items()):
        raise ModelError(
            "answers the same question differently later: it draws random numbers, or keeps a state from one question to the next; "
            "export it without, or with the state as inputs and outputs"
        )
    _check_sizes(kept)
    outputs = outputs_of(runtime.outputs, runtime.inputs, state)
    arrays: dict[str, Any] = {f"output_{i}": np.stack(kept[spec.name]) for i, spec in enumerate(outputs)}
    np.savez(folder / "outputs.npz", **arrays)
    return {
        "runtime": runtime.name,
        "version": runtime.version,
        "inputs": [as_json(spec) for spec in runtime.inputs],
        "outputs": [as_json(spec) for spec in outputs],
    }


def loaded(path: str, state: StateSpec | None, sizes: Mapping[str, Sequence[int]]) -> Runtime:
    """The model in ``path``; its inputs with free dimensions as ``sizes`` says. Raises :class:`ModelError`."""
    keeps = state is not None and state.in_graph == "keep" and path.endswith(".tflite")
    runtime: Runtime = TfliteRuntime(Path(path), keep_state=True) if keeps else load_model_file(Path(path), threads=1)
    runtime.inputs = sized(runtime.inputs, sizes)
    return runtime


def answered(folder: Path, work: Callable[[Mapping[str, Any]], Answer]) -> int:
    """Does ``work`` on the job in ``folder`` and leaves the answer, or the reason why there is none, in ``result.json``."""
    limit_memory()
    try:
        answer = work(json.loads((folder / "job.json").read_text()))
    except (EdgeError, MemoryError) as error:
        kind = type(error).__name__ if type(error).__name__ in KINDS else "ModelError"
        answer = {"error": f"{error}" or "out of memory", "kind": kind}
    (folder / "result.json").write_text(json.dumps(answer))
    return 0


def limit_memory() -> None:
    """A model that asks for more than this machine has gets a clear refusal from the allocator, before the whole machine suffers."""
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = have if hard == resource.RLIM_INFINITY else min(have, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def as_json(spec: TensorSpec) -> Answer:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape), "scale": spec.scale, "zero_point": spec.zero_point}


def spec_of(tree: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(tree["name"], tree["dtype"], tuple(tree["shape"]), tree["scale"], tree["zero_point"])


def check_room(kept: Mapping[str, list[Any]], rows: int) -> None:
    """Raises :class:`InputError` when ``rows`` times the first outputs would not fit in :data:`MAX_OUTPUT_BYTES`."""
    each = sum(arrays[0].nbytes for arrays in kept.values())
    if each * rows > MAX_OUTPUT_BYTES:
        raise InputError(
            f"the outputs of {rows} evaluation samples have {each * rows >> 20} MiB, at most {MAX_OUTPUT_BYTES >> 20} MiB are kept; "
            f"give --evaluation {max(MAX_OUTPUT_BYTES // each, 1)}"
        )


def _check_sizes(kept: Mapping[str, list[Any]]) -> None:
    for name, arrays in kept.items():
        sizes = sorted({array.shape for array in arrays})
        if len(sizes) > 1:
            raise ModelError(
                f"output {name} has shape {sizes[0]} for one sample and {sizes[1]} for another; only outputs of one shape can be compared: "
                "export the model with that output padded or left out"
            )


def _same(one: Any, other: Any) -> bool:
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True))
