"""Every candidate: its figures, where it was proven, and what the gate says; and those that were not made."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from converters.report.front import front, untimed
from converters.report.html import Cell, Raw, card, db, kb, soft, table, us
from converters.report.measure import chosen, kind, on_front
from converters.report.summary import measured_here
from converters.report.svg import legend, mark, svg

_LEGEND = (
    ("source", "original"),
    ("chosen", "chosen"),
    ("passed", "passed"),
    ("untimed", "passed, not timed"),
    ("refused", "refused"),
)


def fronts(tree: Mapping[str, Any]) -> str:
    """Two charts, their signs, and whose clock it was."""
    size, latency = front(tree, "size"), front(tree, "latency")
    if size is None:
        return card("Answers against size", soft("No candidate gave answers to compare."))
    signs = card("Answers against size", svg(size), _legend(tree), wide=latency is None)
    if latency is None:
        missing = soft("Nothing was timed.") if "why" in tree else ""
        return signs + (card("Answers against latency", missing, wide=True) if missing else "")
    numbers = ", ".join(str(at) for at in untimed(tree))
    absent = soft(f"Not timed, and so not here: {numbers}.") if numbers else ""
    return signs + card("Answers against latency", svg(latency), absent, measured_here(tree))


def candidates(tree: Mapping[str, Any]) -> str:
    """The table; its numbers are those of the charts."""
    timed = "why" in tree
    head = ["#", "candidate", "size", "answers lost", "95 % interval", "signal to noise"]
    head += (["latency here", "times as fast", "front"] if timed else []) + ["proven in", "verdict"]
    rows = [_row(tree, number, item, timed=timed) for number, item in enumerate(tree["candidates"], 1)]
    kinds = [kind(tree, item) for item in tree["candidates"]]
    if not rows:
        return card("Candidates", soft("No candidate could be made."), wide=True)
    note = "Answers lost are in points of the measure, negative where the candidate is the better one."
    note += " On the front: no other that was timed is better in size, latency and answers at once." if timed else ""
    below = [_said(item) for item in tree["candidates"]]
    made = table(head, rows, caption="All candidates", kind="all stack", kinds=kinds, below=below)
    return card("Candidates", made, soft(note), wide=True)


def not_made(tree: Mapping[str, Any]) -> str:
    if not tree["not_made"]:
        return ""
    rows = [[item["scheme"], item["variant"] or "–", item["reason"]] for item in tree["not_made"]]
    return card("Not made", table(["scheme", "network", "reason"], rows, caption="What was not made", kind="words"), wide=True)


def _row(tree: Mapping[str, Any], number: int, item: Mapping[str, Any], *, timed: bool) -> list[Cell]:
    interval = "–" if item["drop_low"] is None else f"{100 * item['drop_low']:.2f} … {100 * item['drop_high']:.2f}"
    return [
        str(number),
        item["label"],
        _whole(kb(item["bytes"])),
        "–" if item["drop"] is None else f"{100 * item['drop']:.2f}",
        _whole(interval),
        _whole(db(item["sqnr_db"])),
        *((*_latency(item), "yes" if on_front(tree, item) else "–") if timed else ()),
        _runtimes(item),
        _verdict(tree, item),
    ]


def _latency(item: Mapping[str, Any]) -> list[Cell]:
    if not item.get("latency_us"):
        return ["not timed", "–"]
    ratio = item["latency_ratio"]
    return [
        _whole(us(item["latency_us"]["median_us"])),
        _whole(f"{1 / ratio['median']:.2f}× ({1 / ratio['high']:.2f} … {1 / ratio['low']:.2f})"),
    ]


def _verdict(tree: Mapping[str, Any], item: Mapping[str, Any]) -> Cell:
    """What became of it."""
    word = "chosen" if item is chosen(tree) else "not chosen"
    if word != "chosen" and "passed" in item:
        word = "passed" if item["passed"] else "refused"
    return Raw(f'<span class="verd nowrap">{word}</span>')


def _runtimes(item: Mapping[str, Any]) -> Raw:
    """One a line."""
    names = item["proven_in"] or [f"{item['runtime']} {item['runtime_version']}"]
    return Raw("<span>" + "<br>".join(f'<span class="nowrap">{escape(name)}</span>' for name in names) + "</span>")


def _said(item: Mapping[str, Any]) -> list[str]:
    """Every reason and note, the layers that stayed float, and where an alarm's limit lies now."""
    lines = [*item.get("reasons", ()), *(f"set aside by --force: {text}" for text in item.get("overridden", ())), *item["notes"]]
    if item["kept_float"]:
        lines.append(f"kept float: {', '.join(item['kept_float'])}")
    held = item["threshold"]
    if held is not None:
        lines.append(f"alarm above {held['derived']:.4g}, the original's limit being {held['declared']:.4g}")
    return lines


def _legend(tree: Mapping[str, Any]) -> str:
    there = {kind(tree, item) for item in tree["candidates"]} | {"source"}
    signs = [(mark(name, 9, 9), words) for name, words in _LEGEND if name in there]
    lines: list[tuple[str, str]] = [("front", "the front"), ("limit", "least allowed")]
    if any(item["variant"].startswith("pruned") for item in tree["candidates"]):
        lines.insert(1, ("family", "one scheme, pruned"))
    signs += [(f'<polyline class="{name}" points="1,9 17,9"/>', words) for name, words in lines]
    return legend(signs) + soft("Numbers are those of the table. ↓ lies below the chart.")


def _whole(text: str) -> Raw:
    return Raw(f'<span class="nowrap">{escape(text)}</span>')
