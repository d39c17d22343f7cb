"""What the ranges were taken from: samples used and left out, and the range of each tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.report.html import Raw, bar, card, facts, soft, table

MAX_RANGES = 40


def calibration(tree: Mapping[str, Any]) -> str:
    """Samples used of those there were, each outlier by its row, and the note."""
    held = tree["calibration"]
    if not held["samples"]:
        return card("Calibration", soft("Not needed: nothing was calibrated."))
    parts = [facts([("samples", f"{held['used']} of {held['samples']} used")])]
    if held["note"]:
        parts.append(soft(held["note"]))
    if tree["samples_shared"]:
        parts.append(soft("Too few samples to keep some apart: calibration and evaluation used the same ones."))
    if held["rejected"]:
        parts.append("<h3>Left out as outliers</h3>" + _rejected(held["rejected"]))
    else:
        parts.append(soft("No sample was left out."))
    return card("Calibration", *parts)


def ranges(tree: Mapping[str, Any]) -> str:
    """Each tensor's range around a common zero."""
    found = [(name, float(low), float(high)) for name, (low, high) in tree["ranges"].items()]
    if not found:
        return ""
    shown = found[:MAX_RANGES]
    reach = max(max(abs(low), abs(high)) for _, low, high in shown) or 1.0
    rows = [[name, f"{low:.4g}", _span(low / reach, high / reach), f"{high:.4g}"] for name, low, high in shown]
    more = soft(f"and {len(found) - MAX_RANGES} more tensors, in the report as JSON") if len(found) > MAX_RANGES else ""
    return card("Calibrated ranges", table(["tensor", "low", "around zero", "high"], rows, caption="Ranges by tensor"), more)


def _rejected(rejected: Sequence[Mapping[str, Any]]) -> str:
    most = max(item["ratio"] for item in rejected) or 1.0
    rows = [
        [str(item["row"]), item["tensor"], f"{item['ratio']:.1f} times", bar(item["ratio"] / most, "refused")]
        for item in sorted(rejected, key=lambda item: (-item["ratio"], item["row"]))
    ]
    return table(["row", "widest in tensor", "of the median", ""], rows, caption="Samples left out of the calibration")


def _span(low: float, high: float) -> Raw:
    """Shares of the reach, from -1 to 1."""
    return bar((high - low) / 2, "passed", (low + 1) / 2)
