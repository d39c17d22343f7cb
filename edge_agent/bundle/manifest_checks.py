"""What the parts of a manifest must be to each other. Pure: a manifest in, problems by key path out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent.bundle.manifest import MANIFEST_NAME, FileEntry, GoldenCase, Manifest, StatePair, StateSpec
from edge_agent.errors import Problem
from edge_agent.values import DTYPES, TensorSpec

MAX_WEIGHTS_FILES = 4


def cross_check(manifest: Manifest) -> Iterator[Problem]:
    """Every contradiction between the keys of ``manifest``."""
    yield from _files(manifest)
    yield from _tensors(manifest)
    sizes = {entry.path: entry.bytes for entry in manifest.files}
    for i, case in enumerate(manifest.golden):
        yield from _case(case, f"golden[{i}]", sizes, manifest.inputs)
    if manifest.state is not None:
        yield from check_state(manifest.state, manifest.inputs, manifest.outputs, manifest.runtime.name)


def _files(manifest: Manifest) -> Iterator[Problem]:
    models = [f for f in manifest.files if f.role == "model"]
    if len(models) != 1:
        yield Problem("files", f"must have exactly one file with role model, has {len(models)}")
    paths = [f.path for f in manifest.files]
    if len(set(paths)) != len(paths) or MANIFEST_NAME in paths:
        yield Problem("files", "names a path twice or names the manifest")
    yield from _weights(manifest, models)


def _weights(manifest: Manifest, models: list[FileEntry]) -> Iterator[Problem]:
    beside = [f for f in manifest.files if f.role == "weights"]
    if beside and manifest.runtime.name != "onnx":
        yield Problem("files", f"names weights beside the model, which a model for {manifest.runtime.name} does not have")
    if len(beside) > MAX_WEIGHTS_FILES:
        yield Problem("files", f"names {len(beside)} files of weights; at most {MAX_WEIGHTS_FILES} are allowed")
    folders = {f.path.rpartition("/")[0] for f in (*models, *beside)}
    if beside and len(folders) > 1:
        yield Problem("files", "must have the weights in the folder of the model")
    if any(not f.bytes for f in beside):
        yield Problem("files", "names weights of 0 bytes")


def _tensors(manifest: Manifest) -> Iterator[Problem]:
    if not manifest.inputs or not manifest.outputs:
        yield Problem("inputs", "and outputs must each name at least one tensor")
    for key, specs in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        if len({spec.name for spec in specs}) != len(specs):
            yield Problem(key, "names a tensor twice")


def _case(case: GoldenCase, where: str, sizes: Mapping[str, int], inputs: tuple[TensorSpec, ...]) -> Iterator[Problem]:
    for tensor in (*case.inputs, *case.outputs):
        if tensor.path not in sizes:
            yield Problem(where, f"names {tensor.path}, which is not in files")
            continue
        needed = DTYPES.get(tensor.dtype, 0)
        for dim in tensor.shape:
            needed *= dim
        if needed != sizes[tensor.path]:
            yield Problem(where, f"{tensor.path} has {sizes[tensor.path]} bytes, its shape needs {needed}")
    if {t.name for t in case.inputs} != {s.name for s in inputs}:
        yield Problem(f"{where}.inputs", "must name exactly the model's inputs")


def check_state(state: StateSpec, taken: tuple[TensorSpec, ...], given: tuple[TensorSpec, ...], runtime: str) -> Iterator[Problem]:
    """Why a model with these inputs and outputs cannot have this state."""
    inputs, outputs = {spec.name: spec for spec in taken}, {spec.name: spec for spec in given}
    for i, pair in enumerate(state.pairs):
        yield from _pair(pair, f"state.pairs[{i}]", inputs, outputs)
    for what, names in (("input", [p.input for p in state.pairs]), ("output", [p.output for p in state.pairs])):
        if len(set(names)) != len(names):
            yield Problem("state.pairs", f"name an {what} twice")
    if inputs and set(inputs) <= {pair.input for pair in state.pairs}:
        yield Problem("state.pairs", "take every input of the model: nothing is left for a window")
    if outputs and set(outputs) <= {pair.output for pair in state.pairs}:
        yield Problem("state.pairs", "take every output of the model: nothing is left to read")
    yield from _in_graph(state, runtime)


def _in_graph(state: StateSpec, runtime: str) -> Iterator[Problem]:
    if state.in_graph != "keep":
        if not state.pairs:
            yield Problem("state.pairs", "is empty and nothing is kept in the graph: leave state out")
        return
    if runtime != "tflite":
        yield Problem("state.in_graph", f"keep is for tflite, a model for {runtime} keeps nothing in its graph")
    if state.on_swap != "reset":
        yield Problem("state.on_swap", "must be reset where the graph keeps state: it cannot be carried to another version")
    if state.on_gap != "keep":
        yield Problem("state.on_gap", "must be keep where the graph keeps state: a pipeline cannot reset it")


def _pair(pair: StatePair, where: str, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]) -> Iterator[Problem]:
    taken, given = inputs.get(pair.input), outputs.get(pair.output)
    if taken is None:
        yield Problem(f"{where}.input", f"{pair.input!r} is not an input of the model; it has {', '.join(inputs)}")
    if given is None:
        yield Problem(f"{where}.output", f"{pair.output!r} is not an output of the model; it has {', '.join(outputs)}")
    if taken is None or given is None:
        return
    if _kind(taken) != _kind(given):
        yield Problem(where, f"input {pair.input} is {_said(taken)}, output {pair.output} is {_said(given)}: they must be equal")
    if taken.dtype.startswith(("int", "uint")) and taken.scale is None and pair.initial != int(pair.initial):
        yield Problem(f"{where}.initial", f"{pair.initial} is not whole, {pair.input} is {taken.dtype}")


def _kind(spec: TensorSpec) -> tuple[Any, ...]:
    """What of a tensor must be equal in both of a pair; a free dimension is 1 on the device."""
    return spec.dtype, tuple(1 if size is None else size for size in spec.shape), spec.scale, spec.zero_point


def _said(spec: TensorSpec) -> str:
    dtype, shape, scale, zero = _kind(spec)
    return f"{dtype} {shape}" + (f" with scale {scale} and zero point {zero}" if scale is not None else "")
