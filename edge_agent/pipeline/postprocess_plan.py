"""The ``postprocess`` steps understood: what is read, what is done to the scores, how the winner is found, what is done to its label."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError
from edge_agent.pipeline.arguments import Arguments
from edge_agent.pipeline.memories import (
    MAX_WINDOWS,
    Debounce,
    Hysteresis,
    LabelMemory,
    LastScores,
    Majority,
    Memory,
    MovingAverage,
)
from edge_agent.pipeline.scores import Transform, absolute_error, dequantizer, sigmoid, softmax, squared_error, topk
from edge_agent.pipeline.steps_boxes import BoxFinder, box_finder
from edge_agent.values import TensorSpec


@dataclass(frozen=True, slots=True)
class Remembered:
    """A memory and the step it belongs to: ``keep`` when it goes on in a new version that has the same step in the same place."""

    memory: Memory
    step: str
    keep: bool


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Difference of an output to the input ``name`` or, where that is empty, to the window itself."""

    name: str
    real: Transform
    error: Callable[[Any, Any], Any]


class PostprocessPlan:
    """Takes one step after the other. Raises :class:`BundleError` naming index and key."""

    def __init__(self, outputs: tuple[TensorSpec, ...], inputs: tuple[TensorSpec, ...]) -> None:
        self._outputs = {spec.name: spec for spec in outputs}
        self._inputs = {spec.name: spec for spec in inputs}
        self.spec = outputs[0]
        self.transforms: list[tuple[str, Transform]] = []
        self.decide = False
        self.threshold: float | None = None
        self.hysteresis: Hysteresis | None = None
        self.boxes: tuple[str, BoxFinder] | None = None
        self.reconstruction: tuple[str, Reconstruction] | None = None
        self.labels: list[LabelMemory] = []
        self.remembered: list[Remembered] = []

    def add(self, step: Step, where: str) -> None:
        take = _STEPS.get(step.op)
        if take is None:
            raise BundleError(f"{where}.op: {step.op!r} is not one of {', '.join(sorted(_STEPS))}")
        args = Arguments(step, where)
        majority = step.op == "smooth" and step.args.get("kind") == "majority"
        if self.decide and not majority and step.op not in _AFTER_DECISION:
            raise BundleError(f"{where}.op: {step.op} cannot follow the step that chose the winner")
        if not self.decide and (majority or step.op == "debounce"):
            raise BundleError(f"{where}.op: {step.op} of labels must follow a step that chooses a winner")
        take(self, args, f"{where} ({step.op})")
        args.done()

    def output(self, args: Arguments, where: str) -> None:
        name = args.text("name")
        if name not in self._outputs:
            raise args.bad("name", f"{name!r} is not an output of the model; it has {', '.join(self._outputs)}")
        self.spec = self._outputs[name]

    def nothing(self, args: Arguments, where: str) -> None:
        """``none`` and ``dequantize``."""

    def softmax(self, args: Arguments, where: str) -> None:
        self.transforms.append((where, softmax))

    def sigmoid(self, args: Arguments, where: str) -> None:
        self.transforms.append((where, sigmoid))

    def topk(self, args: Arguments, where: str) -> None:
        self.transforms.append((where, topk(args.whole("k", low=1))))
        self.decide = True

    def argmax(self, args: Arguments, where: str) -> None:
        self.decide = True

    def at(self, args: Arguments, where: str) -> None:
        if self.hysteresis is not None or self.boxes is not None:
            raise BundleError(f"{where}: {_LIMITED}")
        self.threshold = args.number("at")
        self.decide = True

    def held(self, args: Arguments, where: str) -> None:
        if self.threshold is not None or self.hysteresis is not None or self.boxes is not None:
            raise BundleError(f"{where}: {_LIMITED}")
        on, off = args.number("on"), args.number("off")
        if off > on:
            raise args.bad("off", "must not be greater than on")
        self.hysteresis = Hysteresis(on, off)
        self.decide = True
        self._remember(self.hysteresis, args, where)

    def smooth(self, args: Arguments, where: str) -> None:
        kind = args.choice("kind", ("mean", "median", "ema", "majority"), "mean")
        if kind == "ema":
            average = MovingAverage(_alpha(args))
            self.transforms.append((where, average))
            self._remember(average, args, where)
        elif kind == "majority":
            self._label(Majority(args.whole("windows", low=1, high=MAX_WINDOWS)), args, where)
        else:
            last = LastScores(kind, args.whole("windows", low=1, high=MAX_WINDOWS))
            self.transforms.append((where, last))
            self._remember(last, args, where)

    def debounce(self, args: Arguments, where: str) -> None:
        self._label(Debounce(args.whole("windows", low=1, high=MAX_WINDOWS)), args, where)

    def find_boxes(self, args: Arguments, where: str) -> None:
        if self.transforms or self.reconstruction is not None:
            raise BundleError(f"{where}: must come before all steps that change scores")
        self.boxes = (where, box_finder(args, tuple(self._outputs.values())))
        self.decide = True

    def reconstruct(self, args: Arguments, where: str) -> None:
        if self.transforms or self.reconstruction is not None:
            raise BundleError(f"{where}: must come before all steps that change scores")
        error = squared_error if args.choice("kind", ("mse", "mae"), "mse") == "mse" else absolute_error
        name = ""
        if args.choice("of", ("input", "window"), "input") == "input":
            name = args.text("input") if args.has("input") else next(iter(self._inputs), "")
            if name not in self._inputs:
                raise args.bad("input", f"{name!r} is not an input of the model; it has {', '.join(self._inputs) or 'none'}")
        real = dequantizer(self._inputs[name]) if name else dequantizer(TensorSpec("", "float64", ()))
        self.reconstruction = (where, Reconstruction(name, real, error))

    def _label(self, memory: LabelMemory, args: Arguments, where: str) -> None:
        self.labels.append(memory)
        self._remember(memory, args, where)

    def _remember(self, memory: Memory, args: Arguments, where: str) -> None:
        keep = args.flag("keep")
        said = json.dumps(dict(args.given()), sort_keys=True, default=str)
        self.remembered.append(Remembered(memory, f"{where} {said}", keep))


def _alpha(args: Arguments) -> float:
    """Given, or as for ``windows`` of equal weight with the same centre: 2 / (windows + 1)."""
    if not args.has("alpha"):
        return 2.0 / (args.whole("windows", low=1, high=MAX_WINDOWS) + 1)
    alpha = args.number("alpha")
    if not 0 < alpha <= 1:
        raise args.bad("alpha", "must be above 0 and at most 1")
    return alpha


_STEPS: Mapping[str, Callable[[PostprocessPlan, Arguments, str], None]] = {
    "output": PostprocessPlan.output,
    "dequantize": PostprocessPlan.nothing,
    "softmax": PostprocessPlan.softmax,
    "sigmoid": PostprocessPlan.sigmoid,
    "reconstruction_error": PostprocessPlan.reconstruct,
    "smooth": PostprocessPlan.smooth,
    "argmax": PostprocessPlan.argmax,
    "topk": PostprocessPlan.topk,
    "threshold": PostprocessPlan.at,
    "hysteresis": PostprocessPlan.held,
    "boxes": PostprocessPlan.find_boxes,
    "debounce": PostprocessPlan.debounce,
    "none": PostprocessPlan.nothing,
}
_LIMITED = "has its limits already, from threshold, hysteresis or boxes"
_AFTER_DECISION = ("threshold", "hysteresis", "debounce", "none")

POSTPROCESS_OPS = tuple(_STEPS)
"""The words a manifest may use. ``dequantize`` is implied and may be said."""
