"""How to make the same bundle again: every option that shapes its bytes, written into it and readable back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from converters import state
from converters.errors import InputError
from converters.gather.said import as_tree, from_tree
from converters.metrics.said import MetricSaid
from converters.processing import Processing
from converters.words import CALIBRATORS, PLACES, SCHEMES, TARGETS
from edge_agent.bundle.manifest import Step, valid_name, valid_version

RECIPE_FORMAT = 1

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The options of a build. ``max_drop`` is the share of right answers that may be lost; ``min_sqnr_db`` the quality asked of models
    that do not classify; ``calibration`` and ``evaluation`` the most samples used for each; ``shapes`` the sizes of inputs that the file
    leaves free; ``search`` whether candidates compete; ``strict`` whether the interval of the loss counts instead of the loss seen;
    ``weights`` where they lie in a model for ONNX Runtime (see :mod:`converters.placing`); ``temperature`` and ``label_weight`` are a
    distillation's (see :class:`~converters.distil.distil.Lesson`)."""

    name: str
    version: str
    profiles: tuple[str, ...]
    target: str = "auto"
    scheme: str = "auto"
    max_drop: float = 0.01
    min_sqnr_db: float = 25.0
    seed: int = 0
    calibration: int = 200
    evaluation: int = 2000
    calibrator: str = "minmax"
    prune: bool = False
    distil: bool = False
    temperature: float = 4.0
    label_weight: float = 0.0
    search: bool = True
    strict: bool = False
    force: bool = False
    unproven: bool = False
    weights: str = "auto"
    shapes: Shapes = ()
    processing: Processing = field(default_factory=Processing)

    def __post_init__(self) -> None:
        for key, value, valid in (("name", self.name, valid_name), ("version", self.version, valid_version)):
            if not valid(value):
                raise InputError(
                    f"{key}: {value!r}: use 1 to 64 letters, digits and . _ -{' +' * (key == 'version')}, a letter or digit first"
                )
        words = (
            ("target", self.target, TARGETS),
            ("scheme", self.scheme, SCHEMES),
            ("calibrator", self.calibrator, CALIBRATORS),
            ("pack-weights", self.weights, PLACES),
        )
        for key, value, known in words:
            if value not in known:
                raise InputError(f"{key}: {value!r} is not one of {', '.join(known)}")
        if not 0 <= self.max_drop <= 1:
            raise InputError(f"max-drop: {self.max_drop} is not a share from 0 to 1")
        if not math.isfinite(self.min_sqnr_db):
            raise InputError(f"min-sqnr: {self.min_sqnr_db} is not a number of decibels")
        if not 0.1 <= self.temperature <= 100 or not 0 <= self.label_weight <= 1:
            raise InputError("temperature must be 0.1 to 100, label-weight 0 to 1")
        if self.distil and not self.prune:
            raise InputError("distil: teaches pruned networks; give --prune too")
        if self.processing.state is not None and (self.scheme not in ("auto", "as-is") or self.prune):
            raise InputError(
                f"{'prune' if self.prune else f'scheme: {self.scheme}'}: is not made of models with state: an error would come back in "
                "with every window, and ranges found on single windows say nothing of it; --scheme as-is packs the file unchanged"
            )
        if self.seed < 0:
            raise InputError(f"seed: {self.seed} is not 0 or more")
        if not self.profiles:
            raise InputError("profile: name at least one board")
        if self.calibration < 1 or self.evaluation < 1:
            raise InputError("calibration and evaluation samples: must be 1 or more")


def shapes_said(words: Sequence[str]) -> Shapes:
    """``NAME=1,3,224,224`` in numbers. Raises :class:`InputError` naming the word that is not so."""
    said = []
    for word in words:
        name, _, sizes = word.rpartition("=")
        numbers = sizes.split(",")
        if not name or not all(number.strip().isdecimal() and int(number) > 0 for number in numbers):
            raise InputError(f"shape: {word!r} is not NAME=SIZES, as in image=1,3,224,224")
        said.append((name, tuple(int(number) for number in numbers)))
    return tuple(said)


def encode(recipe: Recipe, *, tools: Mapping[str, str], samples_sha256: str) -> dict[str, Any]:
    """``recipe`` as JSON, with the versions of the tools and the hash of the samples that took part."""
    tree = asdict(recipe)
    tree["profiles"] = list(recipe.profiles)
    tree["shapes"] = [[name, list(sizes)] for name, sizes in recipe.shapes]
    tree["processing"] = {
        "preprocess": [_step(step) for step in recipe.processing.preprocess],
        "postprocess": [_step(step) for step in recipe.processing.postprocess],
        "labels": list(recipe.processing.labels),
        "samples": as_tree(recipe.processing.samples),
        "metric": asdict(recipe.processing.metric),
        **({} if recipe.processing.state is None else {"state": state.as_tree(recipe.processing.state)}),
    }
    return {"format": RECIPE_FORMAT, "options": tree, "tools": dict(sorted(tools.items())), "samples_sha256": samples_sha256}


def decode(tree: Mapping[str, Any]) -> Recipe:
    """The recipe in what :func:`encode` gave. Raises :class:`InputError` when it is of another format or incomplete."""
    if tree.get("format") != RECIPE_FORMAT:
        raise InputError(f"recipe.format: is {tree.get('format')!r}; this version reads {RECIPE_FORMAT}")
    try:
        options = dict(tree["options"])
        declared = options.pop("processing")
        processing = Processing(
            tuple(Step(s["op"], s["args"]) for s in declared["preprocess"]),
            tuple(Step(s["op"], s["args"]) for s in declared["postprocess"]),
            tuple(declared["labels"]),
            from_tree(declared.get("samples", {})),
            MetricSaid(**declared.get("metric", {})),
            state.from_tree(declared.get("state")),
        )
        shapes = tuple((name, tuple(sizes)) for name, sizes in options.get("shapes", ()))
        return Recipe(**{**options, "profiles": tuple(options["profiles"]), "processing": processing, "shapes": shapes})
    except (KeyError, TypeError) as error:
        raise InputError(f"recipe: cannot be read back ({error})") from None


def _step(step: Step) -> dict[str, Any]:
    return {"op": step.op, "args": dict(step.args)}
