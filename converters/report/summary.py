"""The top of the page: what was chosen and why, what it cost, how much smaller and faster it is."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from converters.report.html import Cell, db, kb, listed, percent, points, table, us
from converters.report.measure import chosen, title


def head(tree: Mapping[str, Any]) -> str:
    """Name, verdict as a badge, boards, file."""
    label, source = tree["chosen"], tree["source"]
    badge = f'<span class="badge">{escape(label)}</span>' if label else '<span class="badge no">refused</span>'
    return (
        f"<header><h1>{escape(title(tree))} {badge}</h1><p class='soft'>"
        f"For {escape(', '.join(tree['profiles']))}, from {escape(source['file'])} (sha256 <code>{escape(source['sha256'][:16])}…</code>), "
        f"judged on {tree['evaluation_samples']} samples.</p></header>"
    )


def verdict(tree: Mapping[str, Any]) -> str:
    """The choice in a sentence and in figures, or every reason why there is none."""
    item = chosen(tree)
    if item is None:
        return _refused(tree)
    others = len(tree["candidates"]) - 1
    passed = sum(bool(other.get("passed")) for other in tree["candidates"])
    why = f"{tree['why']}." if "why" in tree else "Why, and how fast each candidate was, is in the report beside the bundle."
    among = f" {passed} of {others + 1} candidates passed the gate." if "why" in tree and others else ""
    forced = listed([f"set aside by --force: {text}" for text in item.get("overridden", ())])
    notes = listed(item["notes"])
    return (
        f'<section class="card verdict"><h2>Chosen: {escape(item["label"])}</h2><p>{escape(_sentence(why))}{escape(among)}</p>'
        f"{forced}{notes}{_tiles(tree, item)}</section>"
    )


def measured_here(tree: Mapping[str, Any]) -> str:
    """Whose clock it was. Empty in a report without timings."""
    held = tree.get("measured_on")
    if held is None:
        return ""
    boards = ", ".join(tree["profiles"])
    kind = (
        f"a machine of the kind of {boards}, but not the board itself"
        if held.get("of_the_boards_kind")
        else f"not the board ({boards}): times there will be others, and the order of the candidates may be"
    )
    text = f"Latencies were measured on this machine ({held['system']} {held['machine']}, {_threads(held['threads'])}), {kind}. "
    text += "Each candidate ran in turn with the original; the trial on the device has the last word."
    return f'<p class="here">{escape(text)}</p>'


def _refused(tree: Mapping[str, Any]) -> str:
    by_reason: dict[str, list[str]] = {}
    for item in tree["candidates"]:
        for reason in item.get("reasons", ()):
            by_reason.setdefault(reason, []).append(item["label"])
    for item in tree["not_made"]:
        name = ", ".join(filter(None, (item["scheme"], item["variant"])))
        by_reason.setdefault(f"was not made: {item['reason']}", []).append(name)
    rows: list[list[Cell]] = [["; ".join(labels), reason] for reason, labels in by_reason.items()]
    reasons = table(["candidate", "why not"], rows, caption="Every reason of the refusal", kind="words") if rows else ""
    said = "No candidate passed the gate. Every reason:" if rows else "No candidate could be made."
    return f'<section class="card verdict no"><h2>Refused: nothing may leave</h2><p>{said}</p>{reasons}</section>'


def _tiles(tree: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    made = "".join(
        f'<div class="tile"><b>{escape(big)}</b>{"".join(f"<span>{escape(line)}</span>" for line in small)}</div>'
        for big, small in (_size(tree, item), *_speed(tree, item), *_answers(tree, item), _noise(item))
    )
    return f'<div class="tiles">{made}</div>'


def _size(tree: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[str, list[str]]:
    before, after = tree["source"]["bytes"], item["bytes"]
    factor = before / after
    words = f"{factor:.2f} times smaller" if factor >= 1 else f"{1 / factor:.2f} times larger"
    beside = [f"{kb(item['bytes_beside'])} of it weights beside the model"] if item.get("bytes_beside") else []
    return kb(after), [words, f"the file was {kb(before)}", *beside]


def _speed(tree: Mapping[str, Any], item: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    if not item.get("latency_us") or not tree["source"].get("latency_us"):
        return [("not timed", ["no stopwatch for this one"])] if "why" in tree else []
    ratio, before = item["latency_ratio"], tree["source"]["latency_us"]["median_us"]
    return [
        (
            us(item["latency_us"]["median_us"]),
            [
                f"{1 / ratio['median']:.2f} times as fast here ({1 / ratio['high']:.2f} to {1 / ratio['low']:.2f})",
                f"an inference of the original took {us(before)}",
            ],
        )
    ]


def _answers(tree: Mapping[str, Any], item: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    if item["drop"] is None:
        return []
    allowed = f"allowed: {100 * tree['limits']['max_drop']:.2f} points"
    interval = "" if item["drop_low"] is None else f" (95 %: {100 * item['drop_low']:.2f} to {100 * item['drop_high']:.2f})"
    if item["accuracy"] is None:
        return [(percent(1 - item["drop"]), [f"agreement with the original, at most {points(item['drop'])}{interval}", allowed])]
    was = f"{item['measure']}, was {percent(item['original_accuracy'])}"
    return [(percent(item["accuracy"]), [was, f"{points(item['drop'])}{interval}, {allowed}"])]


def _noise(item: Mapping[str, Any]) -> tuple[str, list[str]]:
    return db(item["sqnr_db"]), ["signal to noise of the outputs", "proven in " + (", ".join(item["proven_in"]) or item["runtime"])]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:3] in ("no ", "not") else text


def _threads(number: int) -> str:
    return "one thread" if number == 1 else f"{number} threads"
