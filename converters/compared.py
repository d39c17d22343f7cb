"""Two models on the same samples: which answers differ, what that costs, which is smaller and faster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from converters.errors import InputError
from converters.evaluate import Evaluation, evaluate
from converters.subject import Answers
from converters.timing import Latency, Ratio
from converters.workshop import Proof

MAX_LISTED = 20


def compared(first: Answers, second: Answers, latencies: tuple[Latency, Latency], speed: Ratio | None) -> dict[str, Any]:
    """As JSON; ``first`` is the reference. ``speed`` is ``None`` where the two could not be timed in turn. Raises :class:`InputError` when
    they were not asked the same, or answer in different words."""
    if first.split != second.split:
        raise InputError(f"{second.subject.path}: its samples divide otherwise than those of {first.subject.path}; give --calibration")
    found = _evaluation(first, second)
    return {
        "first": _one(first, latencies[0]),
        "second": _one(second, latencies[1]),
        "samples": len(first.split.evaluate),
        "size_ratio": second.subject.files.bytes / first.subject.files.bytes,
        "latency_ratio": None if speed is None else asdict(speed),
        **{key: _plain(value) for key, value in asdict(found).items() if key not in ("disagreements", "samples", "unmeasured")},
        "disagreements": [asdict(item) for item in found.disagreements[:MAX_LISTED]],
    }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _evaluation(first: Answers, second: Answers) -> Evaluation:
    rows = first.split.evaluate
    alike = _shapes(first.proof) == _shapes(second.proof)
    if not alike and "top1" not in (first.metric, second.metric):
        raise InputError(f"{second.subject.path}: its outputs have other shapes than those of {first.subject.path}")
    proof = second.proof if alike else first.proof  # answers of other shapes can only be compared by class
    metric = "top1" if first.metric == second.metric == "top1" else "error"
    found = evaluate(first.proof, _named_alike(proof, first.proof), rows, metric, (first.classes, second.classes), first.truth)
    return found if alike else replace(found, max_abs_error=math.nan, sqnr_db=math.nan)


def _shapes(proof: Proof) -> list[tuple[int, ...]]:
    return [proof.values[spec.name].shape for spec in proof.outputs]


def _named_alike(proof: Proof, reference: Proof) -> Proof:
    names = [spec.name for spec in reference.outputs]
    outputs = tuple(replace(spec, name=name) for spec, name in zip(proof.outputs, names, strict=True))
    values = {name: proof.values[spec.name] for name, spec in zip(names, proof.outputs, strict=True)}
    return Proof(proof.path, proof.runtime, proof.version, proof.inputs, outputs, values, proof.bytes, proof.bytes_beside)


def _one(answers: Answers, latency: Latency) -> dict[str, Any]:
    subject, proof = answers.subject, answers.proof
    return {
        "model": subject.title,
        "file": subject.path.name,
        "bytes": subject.files.bytes,
        "runtime": proof.runtime,
        "runtime_version": proof.version,
        "latency_us": asdict(latency),
    }


def told(tree: Mapping[str, Any]) -> str:
    """The same for people."""
    first, second = tree["first"], tree["second"]
    lines = [
        f"{second['model']} against {first['model']}, {tree['samples']} samples",
        f"  {'':12}{'first':>14}{'second':>14}",
        f"  {'size':12}{first['bytes'] / 1000:>11.1f} kB{second['bytes'] / 1000:>11.1f} kB   {1 / tree['size_ratio']:.2f} times smaller",
        f"  {'latency':12}{first['latency_us']['median_us']:>11.1f} µs{second['latency_us']['median_us']:>11.1f} µs   {_speed(tree)}",
    ]
    if tree["accuracy"] is not None:
        before, after = 100 * tree["original_accuracy"], 100 * tree["accuracy"]
        lines.append(f"  {'accuracy':12}{before:>12.2f} %{after:>12.2f} %   {_loss(tree)}")
    if tree["agreement"] is not None:
        lines.append(f"  {'agreement':12}{'':>14}{100 * tree['agreement']:>12.2f} %   the same class")
    if tree["sqnr_db"] is not None:
        lines.append(f"  {'noise':12}{'':>14}{tree['sqnr_db']:>11.1f} dB   largest difference {tree['max_abs_error']:.4g}")
    return "\n".join(lines)


def _speed(tree: Mapping[str, Any]) -> str:
    ratio = tree["latency_ratio"]
    if ratio is None:
        return "not timed in turn: they are fed differently"
    return f"{1 / ratio['median']:.2f} times as fast here ({1 / ratio['high']:.2f} to {1 / ratio['low']:.2f})"


def _loss(tree: Mapping[str, Any]) -> str:
    return f"{100 * tree['drop']:.2f} points lost (95 % interval {100 * tree['drop_low']:.2f} to {100 * tree['drop_high']:.2f})"
