"""What the candidates of one report are compared by, in numbers where more is better, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXACT_DB = 160.0


@dataclass(frozen=True, slots=True)
class Measure:
    """``values`` in the candidates' order, ``None`` where there is no number; ``original`` and ``allowed`` on the same scale where they are
    known."""

    title: str
    values: tuple[float | None, ...]
    original: float | None
    allowed: float | None


def measure(tree: Mapping[str, Any]) -> Measure:
    """Percent of the labelled measure, else of agreement with the original, else decibels of signal to noise."""
    items, limits = tree["candidates"], tree["limits"]
    if items and all(item["original_accuracy"] is not None and item["labelled"] for item in items):
        original = 100 * items[0]["original_accuracy"]
        values = tuple(None if item["accuracy"] is None else 100 * item["accuracy"] for item in items)
        return Measure(f"{items[0]['measure']}, %", values, original, original - 100 * limits["max_drop"])
    if items and all(item["drop"] is not None for item in items):
        values = tuple(100 * (1 - item["drop"]) for item in items)
        return Measure("agreement with the original, %", values, 100.0, 100 * (1 - limits["max_drop"]))
    decibels = tuple(None if item["sqnr_db"] is None else min(item["sqnr_db"], EXACT_DB) for item in items)
    return Measure("signal to noise, dB", decibels, None, limits["min_sqnr_db"])


def title(tree: Mapping[str, Any]) -> str:
    """Name and version; of a search alone, which has none, the file."""
    return f"Search for {tree['source']['file']}" if tree.get("search_only") else f"{tree['name']} {tree['version']}"


def kind(tree: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """chosen, refused, passed, or untimed: passed, but without a stopwatch where others had one."""
    if item["label"] == tree["chosen"]:
        return "chosen"
    if not item.get("passed", _good(tree, item)):
        return "refused"
    return "untimed" if "latency_us" in item and item["latency_us"] is None else "passed"


def chosen(tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((item for item in tree["candidates"] if item["label"] == tree["chosen"]), None)


def on_front(tree: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether no other candidate is better in size, latency and answers at once."""
    return item["label"] in tree.get("pareto", ())


def _good(tree: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """By its answers alone, for the report inside a bundle, which knows no clock."""
    if not item["finite"]:
        return False
    if item["drop"] is None:
        return item["sqnr_db"] is not None and bool(item["sqnr_db"] >= tree["limits"]["min_sqnr_db"])
    return bool(item["drop"] <= tree["limits"]["max_drop"] + 1e-12)
