"""One model on real samples: how often it is right, where it is not, and how fast it answers here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from converters.evaluate import CONFIDENCE
from converters.metrics.intervals import wilson
from converters.subject import Answers
from converters.timing import Latency

CONFUSIONS = 10


def judged(answers: Answers, latency: Latency) -> dict[str, Any]:
    """As JSON. Accuracy has its 95 % interval (Wilson); without labels the classes given are counted; models that do not classify have the
    extent of each output."""
    subject, proof = answers.subject, answers.proof
    tree: dict[str, Any] = {
        "model": subject.title,
        "file": subject.path.name,
        "bytes": subject.files.bytes,
        "runtime": proof.runtime,
        "runtime_version": proof.version,
        "samples": len(answers.split.evaluate),
        "metric": answers.metric,
        "latency_us": asdict(latency),
        "confidence": CONFIDENCE,
    }
    if answers.metric != "top1":
        return {**tree, "outputs": {spec.name: _extent(proof.values[spec.name]) for spec in proof.outputs}}
    tree["classes"] = dict(sorted(Counter(answers.classes).items()))
    return tree if answers.truth is None else {**tree, **_right(answers.classes, answers.truth)}


def _right(given: tuple[str, ...], truth: tuple[str, ...]) -> dict[str, Any]:
    right = sum(a == t for a, t in zip(given, truth, strict=True))
    low, high = wilson(right, len(truth))
    wrong = Counter((t, a) for a, t in zip(given, truth, strict=True) if a != t)
    by_class = {name: _share(name, given, truth) for name in sorted(set(truth))}
    return {
        "accuracy": right / len(truth),
        "accuracy_low": low,
        "accuracy_high": high,
        "by_class": by_class,
        "confusions": [{"truth": t, "given": a, "count": n} for (t, a), n in wrong.most_common(CONFUSIONS)],
    }


def _share(name: str, given: tuple[str, ...], truth: tuple[str, ...]) -> float:
    here = [a == t for a, t in zip(given, truth, strict=True) if t == name]
    return sum(here) / len(here)


def _extent(array: Any) -> Mapping[str, float]:
    values = array.astype(np.float64)
    return {"mean": float(values.mean()), "low": float(values.min()), "high": float(values.max())}


def told(tree: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"{tree['model']} on {tree['samples']} samples",
        f"  size         {tree['bytes'] / 1000:.1f} kB",
        f"  latency      {tree['latency_us']['median_us']:.1f} µs here ({tree['runtime']} {tree['runtime_version']}, one thread)",
    ]
    if "accuracy" in tree:
        interval = f"{100 * tree['accuracy_low']:.2f} to {100 * tree['accuracy_high']:.2f}"
        lines.append(f"  accuracy     {100 * tree['accuracy']:.2f} % (95 % interval {interval})")
        worst = sorted(tree["by_class"].items(), key=lambda item: item[1])[:3]
        lines.append("  weakest      " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in worst))
        lines += [f"  taken for    {c['truth']} for {c['given']}, {c['count']} times" for c in tree["confusions"][:3]]
    elif "classes" in tree:
        lines.append("  classes      " + ", ".join(f"{name or 'none'} {count}" for name, count in tree["classes"].items()))
    for name, extent in tree.get("outputs", {}).items():
        lines.append(f"  output       {name}: {extent['low']:.4g} to {extent['high']:.4g}, mean {extent['mean']:.4g}")
    return "\n".join(lines)
