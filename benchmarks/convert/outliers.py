"""What corrupt calibration samples cost, and whether the converter names them: 1 % and 5 % of 200 samples made fifty times as large, blank,
saturated or shuffled, beside ONNX Runtime's quantizer on the same samples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert.files import CALIBRATION, FORMATS, judged, logits, ours, samples, table, theirs
from benchmarks.nets.digits import SIZES, images, model

SHARES = (0.01, 0.05)
SPOILT: Mapping[str, Callable[[Any, Any], Any]] = {
    "x50": lambda image, draw: image * 50,
    "blank": lambda image, draw: image * 0,
    "saturated": lambda image, draw: image * 0 + 1,
    "shuffled": lambda image, draw: draw.permutation(image.reshape(-1)).reshape(image.shape),
}


def measure() -> dict[str, object]:
    """By network, kind of corruption and share, for each way: points lost and signal to noise; of ours how many bad samples were named, how
    many good ones with them."""
    with tempfile.TemporaryDirectory(prefix="edge-outliers-") as name:
        folder = Path(name)
        return {net: {"clean": _measured(net, folder, "", 0.0), **_spoilt(net, folder)} for net in SIZES}


def _spoilt(net: str, folder: Path) -> dict[str, Any]:
    return {f"{100 * share:.0f} % {kind}": _measured(net, folder, kind, share) for kind in SPOILT for share in SHARES}


def _measured(net: str, folder: Path, kind: str, share: float) -> dict[str, dict[str, float]]:
    x, _, test, labels = images(net)
    draw = np.random.default_rng(7)
    bad = sorted(int(row) for row in draw.choice(CALIBRATION, round(CALIBRATION * share), replace=False))
    calibration = x[:CALIBRATION].copy()
    for row in bad:
        calibration[row] = SPOILT[kind](calibration[row], draw)
    reference = logits(model(net), test)
    given = samples(net, folder / "samples.npz", calibration)
    found: dict[str, dict[str, float]] = {}
    for target in FORMATS:
        made = ours(model(net), given, target)
        named = {"bad": len(bad), "bad_named": len(set(bad) & set(made.rejected)), "good_named": len(set(made.rejected) - set(bad))}
        found[f"edge-convert {target}"] = {**(judged(logits(made.path, test), reference, labels) if made.path else {}), **named}
    if kind in ("", "x50"):  # the others do no harm
        for method in ("MinMax", "Percentile"):
            path = theirs(model(net), calibration, folder / "theirs.onnx", method)
            found[f"onnxruntime {method}"] = judged(logits(path, test), reference, labels)
    return found


def lines(figures: dict[str, Any]) -> list[str]:
    rows = [["network, samples, way", "dB", "points lost", "bad named", "good named"]]
    for net, cases in figures.items():
        for case, ways in cases.items():
            for way, found in ways.items():
                measured = [f"{found['sqnr_db']:.1f}", f"{found['points_lost']:.2f}"] if "sqnr_db" in found else ["refused", "-"]
                named = [f"{found['bad_named']}/{found['bad']}", f"{found['good_named']}"] if "bad" in found else ["-", "-"]
                rows.append([f"{net}, {case}, {way}", *measured, *named])
    return table(rows)
