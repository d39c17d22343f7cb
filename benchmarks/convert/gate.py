"""The gate as a judge: over a hundred model files of every quality, judged on one half of the test images, against what they really lose.

Truth is the accuracy lost on all 797 images, and on the half that the gate did not see. Each half judges once. The gate's promise is
about ``--strict``: where it lets a file out, the file loses no more than is allowed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.convert.artefacts import artefacts
from benchmarks.convert.files import CALIBRATION, logits, table
from benchmarks.nets.digits import SIZES, images, model
from converters.evaluate import evaluate
from converters.gate import Limits, Weighed, judge
from converters.load import load_source
from converters.passes.run import run_passes
from converters.workshop import Proof, Workshop
from edge_agent.values import TensorSpec

ALLOWED = 0.005
WAYS: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {
        "--strict, labels": (True, True),
        "default, labels": (False, True),
        "--strict, no labels": (True, False),
        "default, no labels": (False, False),
    }
)
"""Whether strict, whether it sees labels."""


def measure() -> dict[str, object]:
    """``artefacts``: a record each, with ``lost`` (share of right answers, on all images) and, by half that judged, ``lost_other`` and the
    ways that accepted it."""
    with tempfile.TemporaryDirectory(prefix="edge-gate-") as name:
        return {"artefacts": [record for at, net in enumerate(SIZES) for record in _judged(net, Path(name), at)]}


def _judged(net: str, folder: Path, seed: int) -> list[dict[str, Any]]:
    x, _, test, labels = images(net)
    np.savez(folder / f"{net}.npz", image=x[:CALIBRATION])
    graph = load_source(model(net)).graph
    assert graph is not None
    graph, _ = run_passes(graph)
    calibration = Workshop(folder, folder / f"{net}.npz", ()).calibrate(graph, tuple(range(CALIBRATION)))
    before = logits(model(net), test)
    path, found = folder / "artefact.onnx", []
    for name, data in artefacts(graph, calibration.ranges, seed):
        path.write_bytes(data)
        found.append({"net": net, "artefact": name, **verdicts(before, logits(path, test), labels)})
    return found


def verdicts(before: Any, after: Any, labels: Any) -> dict[str, Any]:
    """What the answers ``after`` really lose against ``before`` (images, classes), and which ways of judging accept them on either half of
    the images; every second one is of the same half."""
    halves = [np.arange(start, len(labels), 2) for start in (0, 1)]
    judged = []
    for half, other in (halves, halves[::-1]):
        known = {True: labels[half], False: None}
        accepted = [way for way, (strict, seen) in WAYS.items() if _accepts(before[half], after[half], known[seen], strict)]
        judged.append({"lost_other": lost(before[other], after[other], labels[other]), "accepted": accepted})
    return {"lost": lost(before, after, labels), "judged": judged}


def lost(before: Any, after: Any, labels: Any) -> float:
    """Share of right answers lost."""
    return float((before.argmax(1) == labels).mean() - (after.argmax(1) == labels).mean())


def _accepts(before: Any, after: Any, labels: Any, strict: bool) -> bool:
    source, made = _proof(before), _proof(after)
    classes = [[str(at) for at in answers.argmax(1)] for answers in (before, after)]
    truth = None if labels is None else [str(label) for label in labels]
    evaluation = evaluate(source, made, range(len(before)), "top1", (classes[0], classes[1]), truth)
    return judge(evaluation, Limits(ALLOWED, 25.0, 64.0, strict=strict), Weighed(1, 1)).passed


def _proof(answers: Any) -> Proof:
    spec = TensorSpec("logits", "float32", answers.shape[1:])
    return Proof(Path("artefact.onnx"), "onnxruntime", "", (), (spec,), {"logits": answers})


def lines(figures: dict[str, Any]) -> list[str]:
    records = figures["artefacts"]
    drops = np.array([record["lost"] for record in records])
    edges = (-1.0, 0.0, ALLOWED, 0.01, 0.02, 1.0)
    spread = ", ".join(f"{int(((drops > a) & (drops <= b)).sum())} at {_edge(b)}" for a, b in pairwise(edges))
    rows = [["way of judging", "judgements", "accepted", "false accepts", "false on the other half", "false refusals", "worst accepted"]]
    wrong = []
    for way in WAYS:
        each = [(record, half) for record in records for half in record["judged"]]
        accepted = [(record, half) for record, half in each if way in half["accepted"]]
        false = [(record, half) for record, half in accepted if record["lost"] > ALLOWED]
        elsewhere = sum(half["lost_other"] > ALLOWED for _, half in accepted)
        refused = sum(record["lost"] <= ALLOWED for record, half in each if way not in half["accepted"])
        worst = max((record["lost"] for record, _ in accepted), default=0.0)
        rows.append([way, str(len(each)), str(len(accepted)), str(len(false)), str(elsewhere), str(refused), f"{100 * worst:.2f} points"])
        wrong += [f"  accepted by {way}: {r['net']}, {r['artefact']}, loses {100 * r['lost']:.2f} points" for r, _ in false]
    return [f"  {len(records)} artefacts by points of accuracy lost: {spread}; allowed are {100 * ALLOWED:g}", *table(rows), *wrong]


def _edge(edge: float) -> str:
    return "more" if edge == 1.0 else "none" if edge == 0.0 else f"up to {100 * edge:g}"
