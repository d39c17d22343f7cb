"""Model outputs to a verdict, as the manifest's ``postprocess`` steps say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.arguments import Arguments
from edge_agent.values import TensorSpec


@dataclass(frozen=True, slots=True)
class Verdict:
    """``scores`` of every class, or output values; the winning ``label`` and its ``score``, ``None`` when nothing won."""

    label: str | None
    score: float | None
    scores: tuple[float, ...]


Transform = Callable[[Any], Any]
Postprocess = Callable[[Mapping[str, Any]], Verdict]


def compile_postprocess(steps: tuple[Step, ...], outputs: tuple[TensorSpec, ...], labels: tuple[str, ...]) -> Postprocess:
    """A function from output arrays by name to a :class:`Verdict`.

    The first output counts unless a step ``output`` names another; quantized integers become real numbers first. Without a deciding
    step (``argmax``, ``topk``, ``threshold``) there is no label, and a score only when the output is one value. Raises
    :class:`BundleError` now for a wrong step; the function raises :class:`ModelError` when the output is missing.
    """
    plan = _Plan(outputs)
    for index, step in enumerate(steps):
        plan.add(step, f"postprocess[{index}]")
    _check_labels(plan.spec, labels)
    real = _dequantizer(plan.spec)
    name, transforms, decide, at = plan.spec.name, tuple(plan.transforms), plan.decide, plan.threshold

    def postprocess(arrays: Mapping[str, Any]) -> Verdict:
        array = arrays.get(name)
        if array is None:
            raise ModelError(f"output {name}: missing, the model gave {', '.join(arrays) or 'nothing'}")
        with np.errstate(all="ignore"):
            scores = real(array).ravel()
            for transform in transforms:
                scores = transform(scores)
        return _verdict(scores, labels, decide, at)

    return postprocess


class _Plan:
    """The steps understood so far: which output, what is done to its scores, and how the winner is found."""

    def __init__(self, outputs: tuple[TensorSpec, ...]) -> None:
        self._outputs = {spec.name: spec for spec in outputs}
        self.spec = outputs[0]
        self.transforms: list[Transform] = []
        self.decide = False
        self.threshold: float | None = None

    def add(self, step: Step, where: str) -> None:
        args = Arguments(step, where)
        if step.op not in POSTPROCESS_OPS:
            raise BundleError(f"{where}.op: {step.op!r} is not one of {', '.join(sorted(POSTPROCESS_OPS))}")
        if self.decide and step.op not in ("threshold", "none"):
            raise BundleError(f"{where}.op: {step.op} cannot follow the step that chose the winner")
        if step.op == "output":
            self._choose(args)
        elif step.op == "softmax":
            self.transforms.append(_softmax)
        elif step.op == "sigmoid":
            self.transforms.append(_sigmoid)
        elif step.op == "topk":
            self.transforms.append(_topk(args.whole("k", low=1)))
            self.decide = True
        elif step.op == "threshold":
            self.threshold = args.number("at")
            self.decide = True
        elif step.op == "argmax":
            self.decide = True
        args.done()

    def _choose(self, args: Arguments) -> None:
        name = args.text("name")
        if name not in self._outputs:
            raise args.bad("name", f"{name!r} is not an output of the model; it has {', '.join(self._outputs)}")
        self.spec = self._outputs[name]


POSTPROCESS_OPS = ("output", "dequantize", "softmax", "sigmoid", "argmax", "topk", "threshold", "none")
"""The words a manifest may use. ``dequantize`` is implied and may be said."""


def _softmax(x: Any) -> Any:
    power = np.exp(x - np.max(x, initial=-np.inf))
    return power / power.sum()


def _sigmoid(x: Any) -> Any:
    # exp of a negative number only: no overflow on either side.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _topk(k: int) -> Transform:
    def keep(x: Any) -> Any:
        best = np.argsort(-x, kind="stable")[:k]
        kept = np.where(np.isnan(x), x, 0.0)  # what is not a number stays so, else it would be lost that nothing can win
        kept[best] = x[best]
        return kept

    return keep


def _dequantizer(spec: TensorSpec) -> Transform:
    if spec.scale is None or np.dtype(spec.dtype).kind not in "iu":
        return lambda x: np.asarray(x, np.float64)
    scale, zero = float(spec.scale), float(spec.zero_point or 0)
    return lambda x: (np.asarray(x, np.float64) - zero) * scale


def _check_labels(spec: TensorSpec, labels: tuple[str, ...]) -> None:
    if not labels or any(size is None for size in spec.shape[1:]):
        return
    count = math.prod(size or 1 for size in spec.shape)
    binary = count == 1 and len(labels) == 2
    if len(labels) != count and not binary:
        raise BundleError(f"labels: has {len(labels)} words, output {spec.name} gives {count} values")


def _verdict(scores: Any, labels: tuple[str, ...], decide: bool, at: float | None) -> Verdict:
    values = tuple(scores.tolist())
    if not values or any(math.isnan(value) for value in values):
        return Verdict(None, None, values)
    if not decide:
        return Verdict(None, values[0] if len(values) == 1 else None, values)
    if len(values) == 1 and at is not None:
        return Verdict(_binary(values[0], labels, at), values[0], values)
    best = int(np.argmax(scores))
    if at is not None and values[best] < at:
        return Verdict(None, values[best], values)
    return Verdict(labels[best] if best < len(labels) else str(best), values[best], values)


def _binary(score: float, labels: tuple[str, ...], at: float) -> str | None:
    """One score: two labels name below and above; one label, or none, names above only."""
    if score >= at:
        return labels[-1] if labels else "1"
    return labels[0] if len(labels) == 2 else None
