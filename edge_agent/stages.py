"""Whether the models of a pipeline fit one after the other, as far as their manifests tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import prod

from edge_agent.bundle.manifest import Manifest, fed_inputs, read_outputs
from edge_agent.config import PipelineConfig, StageConfig
from edge_agent.values import TensorSpec

_KEEPING = frozenset({"none", "softmax", "sigmoid", "argmax", "dequantize", "raw", "scale", "normalize", "clip", "threshold", "smooth"})
"""Steps that leave the count of values as it is."""


def stage_problems(pipeline: PipelineConfig, manifests: Mapping[str, Manifest]) -> Iterator[tuple[str, str]]:
    """Keys under ``then`` that make a stage never be asked, or always refuse, with what is wrong; of models in ``manifests`` alone."""
    stages = (StageConfig(pipeline.model), *pipeline.then)
    for number, (before, stage) in enumerate(pairwise(stages)):
        first, then = manifests.get(before.model), manifests.get(stage.model)
        if first is None:
            continue
        finds_boxes = any(step.op == "boxes" for step in first.postprocess)
        if stage.feed == "box" and not finds_boxes and before.feed != "box":
            yield f"then[{number}].feed", f'"box" is never asked: model {first.name} finds no boxes (it has no step boxes)'
        elif stage.feed == "output" and finds_boxes:
            yield f"then[{number}].feed", f'"output" is empty: model {first.name} finds boxes; say "box" or "window"'
        elif stage.feed == "output" and then is not None and (wrong := _misfit(first, then)):
            yield f"then[{number}].feed", wrong
        if unknown := [label for label in stage.when if not _gives(first, label)]:
            known = ", ".join(first.labels) or "it has none, so they are numbers"
            yield f"then[{number}].when", f"{unknown[0]!r} is no label of model {first.name} ({known})"


def _gives(manifest: Manifest, label: str) -> bool:
    """Whether a verdict of this model may have ``label``; what has none is named by its number."""
    return label in manifest.labels or label.isdecimal()


def _misfit(first: Manifest, then: Manifest) -> str:
    """Why the scores of ``first`` are no input of ``then``, where both sizes are fixed and nothing in between changes them."""
    inputs, outputs = fed_inputs(then), read_outputs(first)
    if len(inputs) != 1 or not outputs or any(step.op not in _KEEPING for step in (*first.postprocess, *then.preprocess)):
        return ""
    given, needed = _count(outputs[0]), _count(inputs[0])
    if not given or not needed or given == needed:
        return ""
    return f'"output" gives the {given} scores of model {first.name}, and model {then.name} needs {needed} values'


def _count(spec: TensorSpec) -> int:
    """Values of a tensor; 0 where a size is free."""
    return prod(size or 0 for size in spec.shape)
