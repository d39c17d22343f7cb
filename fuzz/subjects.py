"""What is done with a damaged file of each kind: what the converter or the agent does first with a file it is given."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from converters.calibrate.collect import float_tensors
from converters.errors import InputError, PassError
from converters.load import load_source
from converters.passes.prove import prove_passes
from converters.passes.run import run_passes
from converters.processing import read_processing
from converters.samples import Samples
from edge_agent.bundle.archive import read_manifest, unpack
from edge_agent.bundle.golden import load_cases
from edge_agent.errors import EdgeError
from edge_agent.values import TensorSpec
from fuzz.fields import change_member, change_message, change_table, header_lie, lie_in_wire
from fuzz.mutate import BLIND, TEXT, Mutation

PROVEN_SHARE = 0.05
"""Of the models that are taken, so many are also run before and after the passes."""


class Wrong(Exception):
    """A file was taken and what was made of it is not the same network."""


def model(path: Path, chance: random.Random) -> str:
    """Loading, the passes and shape inference: what a build does in its first child process."""
    source = load_source(path)
    if source.graph is None:
        return "as it is"
    float_tensors(run_passes(source.graph)[0])
    if chance.random() < PROVEN_SHARE:
        try:
            prove_passes(source.graph)
        except PassError as error:
            raise Wrong(str(error)) from None
    return "taken"


def samples(path: Path, chance: random.Random) -> str:
    held = Samples(path, (TensorSpec("x", "float32", (1, 4, 3)),), ())
    held.check()
    split = held.split(calibration=4, evaluation=4, seed=0)
    for rows in (split.calibrate, split.evaluate):
        for feed in held.feeds(rows):
            if feed["x"].shape != (1, 4, 3):
                raise Wrong(f"a feed of shape {feed['x'].shape}")
    return "taken"


def bundle(path: Path, chance: random.Random) -> str:
    read_manifest(path)
    folder = path.with_name("unpacked")
    try:
        load_cases(unpack(path, folder), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return "taken"


def processing(path: Path, chance: random.Random) -> str:
    read_processing(path)
    return "taken"


def pmml(path: Path, chance: random.Random) -> str:
    from converters.loaders.pmml import onnx_of
    from converters.loaders.pmml_xml import RefusedElement

    try:
        data, _ = onnx_of(path.read_bytes())
    except RefusedElement as error:
        raise InputError(str(error)) from None
    path.write_bytes(data)
    try:
        return model(path, chance)
    except EdgeError as error:
        raise Wrong(f"what was made of it is refused: {error}") from error


SUBJECTS: Mapping[str, Callable[[Path, random.Random], str]] = MappingProxyType(
    {"onnx": model, "tflite": model, "npz": samples, "bundle": bundle, "toml": processing, "pmml": pmml}
)
"""Gives a word for how it went. Raises EdgeError or MemoryError for a refusal; anything else is a finding."""

WAYS: Mapping[str, tuple[Mutation, ...]] = MappingProxyType(
    {
        "onnx": (*[change_message] * 12, lie_in_wire, lie_in_wire, *BLIND),
        "tflite": (*[change_table] * 12, header_lie, header_lie, *BLIND),
        "npz": (*[change_member] * 8, *BLIND),
        "bundle": (*[change_member] * 8, *BLIND),
        "toml": TEXT,
        "pmml": TEXT,
    }
)

WEIGHTS: Mapping[str, int] = MappingProxyType({"onnx": 40, "tflite": 30, "npz": 10, "bundle": 8, "toml": 4, "pmml": 8})
"""How many of a hundred cases each kind gets."""
