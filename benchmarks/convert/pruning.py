"""Pruning and int8 from the float ONNX file, with 400 images and no labels: how much smaller and faster, and what it lost on 797 others.

Time is that of a bare call: the original in ONNX Runtime and in LiteRT, and the pruned int8 file in LiteRT, in turn, one thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert.files import judged, logits, table
from benchmarks.nets.digits import SIZES, images, model
from converters.calibrate.bias import correct_bias
from converters.load import load_source
from converters.networks import SHARES
from converters.passes.run import run_passes
from converters.prune.cost import cost
from converters.prune.pruned import Pruned
from converters.targets.tflite_float import emit_tflite_float
from converters.targets.tflite_int8 import emit_tflite_int8
from converters.timing import latency, ratio
from converters.workshop import Workshop

SAMPLES = 400
WANTED = {"plain": (10.0, 10.0, 0.25), "resnet8": (12.0, 10.0, 0.3), "depthwise": (1.0, 3.0, 0.5)}
"""Times smaller, times faster than the original in its own runtime, points of accuracy lost at most."""
CPU_S = 30.0
"""Of processor time at most, for all shares of a network together."""
TIMED_S = 6.0


def measure() -> dict[str, object]:
    """By network: what is wanted, and each share's sizes, losses and times."""
    with tempfile.TemporaryDirectory(prefix="edge-pruning-") as name:
        return {net: _measured(net, Path(name)) for net in SIZES}


def _measured(net: str, folder: Path) -> dict[str, Any]:
    x, _, test, labels = images(net)
    np.savez(folder / f"{net}.npz", image=x[:SAMPLES])
    np.save(folder / "images.npy", test[:8])
    source = load_source(model(net)).graph
    assert source is not None
    graph, _ = run_passes(source)
    workshop = Workshop(folder, folder / f"{net}.npz", ())
    reference = logits(model(net), test)
    plain = folder / f"{net}-float.tflite"
    plain.write_bytes(emit_tflite_float(graph))
    rows, full, files = [], cost(graph), []
    for made in workshop.prune(graph, range(SAMPLES), SHARES):
        path = folder / f"{net}-{made.share}.tflite"
        calibration = workshop.calibrate(made.graph, tuple(range(200)))
        path.write_bytes(emit_tflite_int8(correct_bias(made.graph, calibration), calibration.ranges))
        files.append(path)
        rows.append({**_facts(made, full), **judged(logits(path, test), reference, labels), "smaller": _smaller(net, path)})
    for tiles in (False, True):
        for row, times in zip(rows, _times(folder, [model(net), plain, *files], tiles=tiles), strict=True):
            row.update({f"{key}{'_tiles' if tiles else ''}": value for key, value in times.items()})
    return {"wanted": WANTED[net], "rows": rows}


def _facts(made: Pruned, full: Any) -> dict[str, Any]:
    widths = [layer.after for layer in made.layers]
    return {
        "share": made.share,
        "macs": made.macs / full.macs,
        "params": made.params / full.params,
        "cpu_s": made.cpu_s,
        "channels": widths,
    }


def _smaller(net: str, path: Path) -> float:
    return model(net).stat().st_size / path.stat().st_size


def _times(folder: Path, paths: list[Path], *, tiles: bool) -> list[dict[str, float]]:
    """Of all but the first two of ``paths``, which are the original in its own runtime and in the other one."""
    order = {"paths": [str(path) for path in paths], "images": str(folder / "images.npy"), "tiles": tiles, "budget_s": TIMED_S}
    command = [sys.executable, "-m", "benchmarks.convert.bare", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    own, other, *rounds = json.loads(done.stdout)
    return [
        {"us": latency(spent).median_us, "faster": ratio(own, spent).median, "faster_same_runtime": ratio(other, spent).median}
        for spent in rounds
    ]


def lines(figures: dict[str, Any]) -> list[str]:
    head = ["network, share", "MACs", "params", "points lost", "smaller", "us", "faster", "in LiteRT", "with AMX", "CPU s", "within"]
    rows = [head]
    for net, found in figures.items():
        smaller, faster, lost = found["wanted"]
        for row in found["rows"]:
            within = row["smaller"] >= smaller and row["faster"] >= faster and row["points_lost"] <= lost
            rows.append(
                [
                    f"{net}, {row['share']:g}",
                    f"{100 * row['macs']:.0f} %",
                    f"{100 * row['params']:.0f} %",
                    f"{row['points_lost']:.2f}",
                    f"{row['smaller']:.1f}x",
                    f"{row['us']:.1f}",
                    f"{row['faster']:.1f}x",
                    f"{row['faster_same_runtime']:.1f}x",
                    f"{row['faster_tiles']:.1f}x",
                    f"{row['cpu_s']:.0f}",
                    "yes" if within else "no",
                ]
            )
    spent = {net: sum(row["cpu_s"] for row in found["rows"]) for net, found in figures.items()}
    return [
        *table(rows),
        "  CPU seconds of all shares: " + ", ".join(f"{net} {cpu_s:.1f}" for net, cpu_s in spent.items()) + f" (at most {CPU_S:g} wanted)",
        "  (wanted: " + "; ".join(f"{n} {s:g}x smaller, {f:g}x faster, {p:g} points" for n, (s, f, p) in WANTED.items()) + ")",
    ]
