"""Networks whose channels differ in size by up to 4096 times and that compute what they did before: int8 must be within 0.2 points of
float or be refused. Beside ONNX Runtime's quantizer, which gives no sign."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.convert.files import CALIBRATION, FORMATS, judged, logits, ours, samples, table, theirs
from benchmarks.convert.unbalance import unbalanced, unclipped
from benchmarks.nets.digits import SIZES, images, model
from converters.load import load_source
from converters.model import to_bytes
from converters.passes.run import run_passes

OCTAVES = 6.0
SEEDS = (1, 2)
ALLOWED_POINTS = 0.2


def measure() -> dict[str, object]:
    """By network and seed, for each way: points lost and signal to noise, nothing where the gate refused. The network with ReLU6 has Relu
    instead, which alone lets channels be scaled; it loses no accuracy by that."""
    with tempfile.TemporaryDirectory(prefix="edge-imbalance-") as name:
        return {f"{net}, seed {seed}": _measured(net, seed, Path(name)) for net in SIZES for seed in SEEDS}


def _measured(net: str, seed: int, folder: Path) -> dict[str, dict[str, float]]:
    x, _, test, labels = images(net)
    graph = load_source(model(net)).graph
    assert graph is not None
    wild = folder / f"{net}-{seed}.onnx"
    wild.write_bytes(to_bytes(unbalanced(unclipped(run_passes(graph)[0]), octaves=OCTAVES, seed=seed)))
    reference = logits(wild, test)
    given = samples(net, folder / "samples.npz")
    found: dict[str, dict[str, float]] = {}
    for target in FORMATS:
        path = ours(wild, given, target, "--max-drop", str(ALLOWED_POINTS / 100)).path
        found[f"edge-convert {target}"] = judged(logits(path, test), reference, labels) if path else {}
    path = theirs(wild, x[:CALIBRATION], folder / "theirs.onnx")
    found["onnxruntime MinMax"] = judged(logits(path, test), reference, labels)
    return found


def lines(figures: dict[str, Any]) -> list[str]:
    rows = [["network, way", "dB", "accuracy", "points lost"]]
    for net, ways in figures.items():
        for way, found in ways.items():
            measured = ["refused", "-", "-"]
            if found:
                measured = [f"{found['sqnr_db']:.1f}", f"{100 * found['accuracy']:.2f} %", f"{found['points_lost']:.2f}"]
            rows.append([f"{net}, {way}", *measured])
    return table(rows)
