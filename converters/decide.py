"""From model outputs to the class a device would report, for counting what is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from converters.errors import InputError
from converters.model import Graph
from converters.processing import Processing
from converters.samples import Samples
from converters.state import read
from converters.workshop import Proof
from edge_agent.bundle.manifest import Step
from edge_agent.pipeline.postprocess import Postprocess, Verdict, compile_postprocess
from edge_agent.values import TensorSpec

_SAID = MappingProxyType({"classifier": "top1", "signal": "error"})
_OF_STEP = MappingProxyType({"boxes": "detector", "reconstruction_error": "autoencoder"})


def choose_metric(processing: Processing, samples: Samples, graph: Graph | None) -> str:
    """What the user says, or else ``regressor`` where there are targets, ``top1`` for models that classify (they have labels, declare a
    verdict, or end in a softmax), ``error`` for all others. Steps that find boxes or compare with the input say the kind by themselves."""
    kind = processing.metric.kind
    op, implied = next(((step.op, _OF_STEP[step.op]) for step in processing.postprocess if step.op in _OF_STEP), ("", ""))
    if implied and kind not in ("", implied):
        raise InputError(f"metric.kind: is {kind}, and the postprocessing step {op} makes the model one of kind {implied}")
    if kind or implied:
        return _SAID.get(kind or implied, kind or implied)
    if samples.targets is not None:
        return "regressor"
    if samples.labels is not None or processing.decides or processing.labels:
        return "top1"
    first = None if graph is None else graph.producers().get(graph.outputs[0].name)  # an input or a constant is given by no node
    return "top1" if first is not None and first.op_type == "Softmax" else "error"


def measured_output(metric: str, proof: Proof, processing: Processing) -> str | None:
    """The output that ``metric`` judges a model by; ``None`` where that is all of them, or where the device was told to read no other."""
    if metric == "top1":
        return None if _named(processing) else _scores_of(proof, processing).name
    return proof.outputs[0].name if metric in ("regressor", "autoencoder") else None


def decisions(proof: Proof, processing: Processing) -> list[str]:
    """The class of each sample by name; without declared verdict the strongest score, or whether a single one reaches 0.5."""
    return [verdict.label or "" for verdict in verdicts(proof, processing)]


def verdicts(proof: Proof, processing: Processing) -> list[Verdict]:
    """What a device would say of each sample, with its scores."""
    steps = processing.postprocess
    if not processing.decides:
        chosen = _named(processing)
        spec = next((s for s in proof.outputs if s.name == chosen), _scores_of(proof, processing))
        single = math.prod(size or 1 for size in spec.shape) == 1
        first = () if chosen else (Step("output", {"name": spec.name}),)
        steps = (*first, *steps, Step("threshold", {"at": 0.5}) if single else Step("argmax"))
    decide = compile_postprocess(steps, read(proof.outputs, processing.state), processing.labels)
    return [_alone(decide, {name: array[i] for name, array in proof.values.items()}) for i in range(len(next(iter(proof.values.values()))))]


def _alone(decide: Postprocess, outputs: Mapping[str, Any]) -> Verdict:
    """Of a sample that follows no other: samples are not a stream, and steps must not remember one at the next."""
    decide.reset()
    return decide(outputs)


def _named(processing: Processing) -> Any:
    """The output that the processing file names."""
    return next((step.args.get("name") for step in processing.postprocess if step.op == "output"), None)


def _scores_of(proof: Proof, processing: Processing) -> TensorSpec:
    """The output that holds scores when none is named: the first of several real numbers (a classifier's label may come before them)."""
    outputs = read(proof.outputs, processing.state)
    several = (s for s in outputs if s.dtype.startswith("float") and math.prod(size or 1 for size in s.shape) > 1)
    return next(several, outputs[0])


def expected(labels: Any, processing: Processing, given: list[str]) -> list[str]:
    """The true class of each sample in the same words as ``given``. Raises :class:`InputError` for a label that has no name."""
    names = processing.labels
    if names and (labels.min() < 0 or labels.max() >= len(names)):
        raise InputError(f"samples: labels: go from {labels.min()} to {labels.max()}, the processing file names {len(names)} classes")
    if names:
        return [names[label] for label in labels.tolist()]
    # One score without names is "1" above its threshold and nothing below.
    binary = set(given) <= {"", "1"}
    return ["" if binary and label == 0 else str(label) for label in labels.tolist()]
