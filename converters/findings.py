"""What a build found out, as JSON: the quality verdict inside the bundle (the same bytes every time) and the full report beside it."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np

from converters.calibrate.ranges import Calibration
from converters.choose import Tried, pareto
from converters.distributions import Spread
from converters.evaluate import CONFIDENCE, Evaluation
from converters.goal import goal_for
from converters.model import Source
from converters.passes.run import PassResult
from converters.recipe import Recipe, encode
from converters.samples import Split
from converters.search import Found
from edge_agent import __version__

TOOLS = ("numpy", "onnx", "onnxruntime", "ai-edge-litert", "flatbuffers")
MAX_LISTED = 50
MAX_CONFUSIONS = 12
MAX_LAYERS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything a conversion knows at its end."""

    recipe: Recipe
    source: Source
    split: Split
    passes: tuple[PassResult, ...]
    found: Found
    golden_cases: int = 0
    scores: Spread | None = None

    @property
    def calibration(self) -> Calibration | None:
        """Of the model itself."""
        return self.found.variants[0].calibration if self.found.variants else None


def tool_versions() -> dict[str, str]:
    """The libraries that shape the bytes, with their versions."""
    found = {"edge-runtime": __version__}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def quality(findings: Findings) -> dict[str, Any]:
    """The verdict for the manifest: nothing that a clock has a say in, so that bytes repeat. ``forced`` only means that size and speed
    were no condition; answers always are."""
    chosen = findings.found.chosen
    assert chosen is not None
    return {
        "verdict": "passed",
        "forced": findings.recipe.force,
        "scheme": chosen.candidate.scheme,
        "variant": chosen.candidate.variant,
        "kept_float": list(chosen.candidate.kept_float),
        **_evaluation(chosen.evaluation),
        "max_drop": findings.recipe.max_drop,
        "min_sqnr_db": findings.recipe.min_sqnr_db,
        "model_bytes": chosen.proof.bytes,
        "bytes_beside": chosen.proof.bytes_beside,
        "source_bytes": findings.source.bytes,
        "proven_in": {"runtime": chosen.proof.runtime, "version": chosen.proof.version, "machine": platform.machine()},
        "proven_also_in": [f"{library} {version}" for library, version in chosen.proven[1:]],
        "calibration": _calibration(findings),
        "golden_cases": findings.golden_cases,
        "notes": list(chosen.judgement.notes),
    }


def report_tree(findings: Findings, *, timings: bool) -> dict[str, Any]:
    """The whole story; with ``timings`` also what this machine's clock said, which differs from run to run."""
    tree: dict[str, Any] = {
        "name": findings.recipe.name,
        "version": findings.recipe.version,
        "profiles": list(findings.recipe.profiles),
        "chosen": findings.found.chosen.candidate.label if findings.found.chosen else None,
        "source": {
            "file": findings.source.path.name,
            "format": findings.source.format,
            "bytes": findings.source.bytes,
            "sha256": findings.source.sha256,
            "origin": findings.source.origin or findings.source.format,
            "notes": list(findings.source.notes),
        },
        "limits": {"max_drop": findings.recipe.max_drop, "min_sqnr_db": findings.recipe.min_sqnr_db, "confidence": CONFIDENCE},
        "candidates": [_tried(item, timings=timings) for item in findings.found.tried],
        "not_made": [asdict(item) for item in findings.found.not_made],
        "calibration": _calibration(findings),
        "evaluation_samples": len(findings.split.evaluate),
        "samples_shared": findings.split.shared,
        "passes": [asdict(item) for item in findings.passes],
        "ranges": {name: list(extent) for name, extent in findings.calibration.ranges.items()} if findings.calibration else {},
        "sensitivity": [asdict(noise) for noise in findings.found.sensitivity],
        "variants": _variants(findings.found),
        "scores": asdict(findings.scores) if findings.scores else None,
        "golden_cases": findings.golden_cases,
        "recipe": encode(findings.recipe, tools={}, samples_sha256="")["options"],
        "tools": tool_versions(),
    }
    if timings:
        latency = findings.found.source_latency
        tree["why"] = findings.found.why
        tree["pareto"] = [item.candidate.label for item in pareto(findings.found.tried)]
        tree["source"]["latency_us"] = None if latency is None else asdict(latency)
        of_the_boards_kind = platform.machine() in goal_for(findings.recipe.profiles).arch
        tree["measured_on"] = {
            "machine": platform.machine(),
            "system": platform.system(),
            "threads": 1,
            "of_the_boards_kind": of_the_boards_kind,
        }
    return tree


def _tried(item: Tried, *, timings: bool) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "label": item.candidate.label,
        "scheme": item.candidate.scheme,
        "variant": item.candidate.variant,
        "kept_float": list(item.candidate.kept_float),
        "bytes": item.proof.bytes,
        "bytes_beside": item.proof.bytes_beside,
        "macs": item.macs,
        "runtime": item.proof.runtime,
        "runtime_version": item.proof.version,
        "proven_in": [f"{library} {version}" for library, version in item.proven],
        **_evaluation(item.evaluation),
        "disagreements": [asdict(d) for d in item.evaluation.disagreements[:MAX_LISTED]],
        "confusions": _confusions(item.evaluation),
        "outputs": [asdict(noise) for noise in item.evaluation.outputs],
        "notes": list(item.judgement.notes),
    }
    if timings:
        tree["passed"] = item.judgement.passed
        tree["reasons"] = list(item.judgement.reasons)
        tree["overridden"] = list(item.judgement.overridden)
        tree["latency_us"] = None if item.latency is None else asdict(item.latency)
        tree["latency_ratio"] = None if item.speed is None else asdict(item.speed)
    return tree


def _confusions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Which class became which, the commonest first; with labels also how often that was a right answer lost, or won."""
    differing = evaluation.disagreements
    pairs = Counter((d.original, d.candidate) for d in differing)
    lost = Counter((d.original, d.candidate) for d in differing if d.truth and d.truth == d.original)
    won = Counter((d.original, d.candidate) for d in differing if d.truth and d.truth == d.candidate)
    ordered = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_CONFUSIONS]
    return [{"original": key[0], "candidate": key[1], "count": count, "lost": lost[key], "won": won[key]} for key, count in ordered]


def _variants(found: Found) -> list[dict[str, Any]]:
    """The networks that candidates were written from: their work, and the channels of each pruned layer."""
    return [
        {"name": variant.name, "macs": variant.macs, "layers": [asdict(layer) for layer in variant.layers[:MAX_LAYERS]]}
        for variant in found.variants
    ]


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    tree = {key: value for key, value in asdict(evaluation).items() if key not in ("disagreements", "outputs", "unmeasured")}
    return {key: {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else _plain(value) for key, value in tree.items()}


def _calibration(findings: Findings) -> Mapping[str, Any]:
    if findings.calibration is None:
        return {"samples": 0, "used": 0, "rejected": [], "note": ""}
    held = findings.calibration
    return {
        "samples": len(findings.split.calibrate),
        "used": held.used,
        "rejected": [asdict(item) for item in held.rejected[:MAX_LISTED]],
        "note": held.note,
    }


def _plain(value: Any) -> Any:
    """JSON has no infinity; float64 keeps more digits than the numbers deserve."""
    if isinstance(value, (float, np.floating)):
        return round(float(value), 9) if math.isfinite(value) else None
    return value
