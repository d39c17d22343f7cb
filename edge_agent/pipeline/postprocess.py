"""Model outputs to a verdict, as the manifest's ``postprocess`` steps say. docs/steps.md lists the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.postprocess_plan import POSTPROCESS_OPS, PostprocessPlan, Reconstruction
from edge_agent.pipeline.scores import dequantizer
from edge_agent.pipeline.steps_boxes import BoxFinder
from edge_agent.values import Box, TensorSpec


@dataclass(frozen=True, slots=True)
class Verdict:
    """``scores`` of every class, or output values; the winning ``label`` and its ``score``, ``None`` when nothing won; ``boxes`` of a
    detector, the surest first, whose best is the winner and which has no ``scores`` besides."""

    label: str | None
    score: float | None
    scores: tuple[float, ...]
    boxes: tuple[Box, ...] = ()


_WIDE = ("float32", "float64")
"""A detector's thousands of answers stay as they are in these; only those that count are calculated with."""

NOTHING = Verdict(None, None, ())


def compile_postprocess(
    steps: tuple[Step, ...], outputs: tuple[TensorSpec, ...], labels: tuple[str, ...], inputs: tuple[TensorSpec, ...] = ()
) -> Postprocess:
    """What makes a :class:`Verdict` of a model's ``outputs``; ``inputs`` are needed only by steps that compare with them.

    Raises :class:`BundleError` now for a wrong step, naming index and key.
    """
    plan = PostprocessPlan(outputs, inputs)
    for index, step in enumerate(steps):
        plan.add(step, f"postprocess[{index}]")
    if plan.boxes is None:
        _check_labels(plan, labels)
    return Postprocess(plan, outputs, labels)


class Postprocess:
    """Output arrays by name to a verdict, window after window of one stream: steps may remember those before.

    The first output counts unless a step ``output`` names another; quantized integers become real numbers first. Without a deciding
    step there is no label, and a score only when the output is one value.
    """

    def __init__(self, plan: PostprocessPlan, outputs: tuple[TensorSpec, ...], labels: tuple[str, ...]) -> None:
        self._plan = plan
        self._labels = labels
        self._name, self._real = plan.spec.name, dequantizer(plan.spec)
        self._transforms = tuple(plan.transforms)
        read = plan.boxes[1].outputs if plan.boxes else ()
        self._read = {spec.name: None if spec.dtype in _WIDE else dequantizer(spec) for spec in outputs if spec.name in read}

    def __call__(self, outputs: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, window: Any = None) -> Verdict:
        """``inputs`` are the arrays the model was given, ``window`` what preprocessing was given: only steps that compare with them need
        them. Raises :class:`ModelError` when an array is missing or has a form that the steps cannot read."""
        if self._plan.boxes is not None:
            verdict = self._found(outputs, window, *self._plan.boxes)
        else:
            verdict = self._scored(outputs, inputs, window)
            if self._plan.labels and any(math.isnan(score) for score in verdict.scores):
                return verdict
        return self._relabelled(verdict) if self._plan.labels else verdict

    def reset(self) -> None:
        """Forget the windows before."""
        for each in self._plan.remembered:
            each.memory.reset()

    def adopt(self, before: Postprocess) -> None:
        """Go on with what ``before``, of another version, remembers now in steps that say ``keep``, where the very same step is here in
        the same place. ``before`` is left as it is."""
        known = {each.step: each.memory for each in before._plan.remembered}
        for each in self._plan.remembered:
            if each.keep and each.step in known:
                each.memory.adopt(known[each.step])

    def _scored(self, outputs: Mapping[str, Any], inputs: Mapping[str, Any] | None, window: Any) -> Verdict:
        scores = self._real(_array(outputs, self._name)).ravel()
        if self._plan.reconstruction is not None:
            scores = _compared(scores, inputs, window, *self._plan.reconstruction)
        if self._transforms:
            scores = self._transformed(scores)
        return self._decided(scores)

    def _transformed(self, scores: Any) -> Any:
        with np.errstate(all="ignore"):
            for where, transform in self._transforms:
                try:
                    scores = transform(scores)
                except ValueError as error:
                    raise ModelError(f"{where}: does not fit {scores.size} scores ({error})") from None
        return scores

    def _decided(self, scores: Any) -> Verdict:
        plan, labels = self._plan, self._labels
        values = tuple(scores.tolist())
        if not values or _any_nan(scores):
            return Verdict(None, None, values)
        if not plan.decide:
            return Verdict(None, values[0] if len(values) == 1 else None, values)
        if plan.hysteresis is not None:
            return self._held(scores, values, plan.hysteresis(scores))
        if len(values) == 1 and plan.threshold is not None:
            return Verdict(_binary(values[0] >= plan.threshold, labels), values[0], values)
        best = int(scores.argmax())
        if plan.threshold is not None and values[best] < plan.threshold:
            return Verdict(None, values[best], values)
        return Verdict(_word(labels, best), values[best], values)

    def _held(self, scores: Any, values: tuple[float, ...], held: int | None) -> Verdict:
        if len(values) == 1:
            return Verdict(_binary(held is not None, self._labels), values[0], values)
        if held is None:
            return Verdict(None, values[int(scores.argmax())], values)
        return Verdict(_word(self._labels, held), values[held], values)

    def _found(self, outputs: Mapping[str, Any], window: Any, where: str, finder: BoxFinder) -> Verdict:
        arrays = {name: real(_array(outputs, name)) if real else _array(outputs, name) for name, real in self._read.items()}
        try:
            with np.errstate(all="ignore"):
                rows = finder.find(arrays, None if window is None else np.shape(window))
        except (ValueError, IndexError) as error:
            raise ModelError(f"{where}: does not fit what the model gave ({error})") from None
        boxes = tuple(Box(_word(self._labels, int(row[4])), row[5], *row[:4]) for row in rows.tolist())
        return Verdict(boxes[0].label, boxes[0].score, (), boxes) if boxes else NOTHING

    def _relabelled(self, verdict: Verdict) -> Verdict:
        """The score of a label that was chosen over this window's own is the one this window gives it, if it gives it one."""
        label = verdict.label
        for remember in self._plan.labels:
            label = remember(label)
        if label == verdict.label:
            return verdict
        return replace(verdict, label=label, score=self._score_of(verdict, label))

    def _score_of(self, verdict: Verdict, label: str | None) -> float | None:
        if len(verdict.scores) == 1:
            return verdict.scores[0]
        if label is None:
            return None
        known = {box.label: box.score for box in reversed(verdict.boxes)}
        known.update((_word(self._labels, at), score) for at, score in enumerate(verdict.scores))
        return known.get(label)


def _array(arrays: Mapping[str, Any], name: str) -> Any:
    array = arrays.get(name)
    if array is None:
        raise ModelError(f"output {name}: missing, the model gave {', '.join(arrays) or 'nothing'}")
    return array


def _any_nan(scores: Any) -> bool:
    lowest = np.minimum.reduce(scores)
    return bool(lowest != lowest)  # the least of numbers among which is NaN is NaN


def _compared(given: Any, inputs: Mapping[str, Any] | None, window: Any, where: str, how: Reconstruction) -> Any:
    """One score: how far ``given`` is from the model's input or the window."""
    wanted = (inputs or {}).get(how.name) if how.name else window
    if wanted is None:
        raise ModelError(f"{where}: {f'input {how.name}' if how.name else 'the window'} is not at hand to compare with")
    real = how.real(wanted).ravel()
    if real.size != given.size or not given.size:
        raise ModelError(f"{where}: the model gives {given.size} values, what it is compared with has {real.size}")
    with np.errstate(all="ignore"):
        return np.asarray(how.error(given, real)).reshape(1)


def _check_labels(plan: PostprocessPlan, labels: tuple[str, ...]) -> None:
    spec = plan.spec
    if not labels or (plan.reconstruction is None and any(size is None for size in spec.shape[1:])):
        return
    count = 1 if plan.reconstruction is not None else math.prod(size or 1 for size in spec.shape)
    binary = count == 1 and len(labels) == 2
    if len(labels) != count and not binary:
        raise BundleError(f"labels: has {len(labels)} words, output {spec.name} gives {count} values")


def _word(labels: tuple[str, ...], at: int) -> str:
    return labels[at] if at < len(labels) else str(at)


def _binary(high: bool, labels: tuple[str, ...]) -> str | None:
    """One score: two labels name below and above; one label, or none, names above only."""
    if high:
        return labels[-1] if labels else "1"
    return labels[0] if len(labels) == 2 else None


__all__ = ["POSTPROCESS_OPS", "Postprocess", "Verdict", "compile_postprocess"]
