"""How much noise int8 brings: signal to noise over the logits of 797 images that took no part, ours in both formats from one set of
calibration samples, beside ONNX Runtime's quantizer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.convert.files import CALIBRATION, FORMATS, judged, logits, ours, samples, table, theirs
from benchmarks.nets.digits import SIZES, images, model

WANTED_DB = {"plain": 40.0, "resnet8": 34.0, "depthwise": 30.0}


def measure() -> dict[str, object]:
    """By network and way: signal to noise (dB), accuracy (share), points lost, bytes."""
    with tempfile.TemporaryDirectory(prefix="edge-fidelity-") as name:
        return {net: _measured(net, Path(name)) for net in SIZES}


def _measured(net: str, folder: Path) -> dict[str, dict[str, float]]:
    x, _, test, labels = images(net)
    reference = logits(model(net), test)
    given = samples(net, folder / f"{net}.npz")
    paths = {f"edge-convert {target}": ours(model(net), given, target).path for target in FORMATS}
    paths["onnxruntime MinMax"] = theirs(model(net), x[:CALIBRATION], folder / f"{net}-theirs.onnx")
    paths["onnxruntime Entropy"] = theirs(model(net), x[:CALIBRATION], folder / f"{net}-entropy.onnx", "Entropy")
    return {way: {**judged(logits(path, test), reference, labels), "bytes": path.stat().st_size} for way, path in paths.items() if path}


def lines(figures: dict[str, Any]) -> list[str]:
    rows = [["network, way", "dB", "wanted", "accuracy", "points lost", "kB"]]
    for net, ways in figures.items():
        rows += [
            [
                f"{net}, {way}",
                f"{found['sqnr_db']:.1f}",
                f"{WANTED_DB[net]:.0f}",
                f"{100 * found['accuracy']:.2f} %",
                f"{found['points_lost']:.2f}",
                f"{found['bytes'] / 1000:.0f}",
            ]
            for way, found in ways.items()
        ]
    return table(rows)
