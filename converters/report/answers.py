"""How the answers of the chosen candidate differ from the original's: the spread of scores, and which class became which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.report.histogram import histogram
from converters.report.html import Cell, bar, card, facts, percent, soft, table
from converters.report.measure import chosen
from converters.report.svg import legend


def scores(tree: Mapping[str, Any]) -> str:
    """Empty where the report has none (an older one, or nothing was chosen)."""
    held, item = tree.get("scores"), chosen(tree)
    if not held or item is None:
        return ""
    limit = item["threshold"]
    limits = [] if limit is None else [("was", limit["declared"]), ("limit", limit["derived"])]
    signs = [('<rect class="before" x="1" y="4" width="16" height="12"/>', "original")]
    signs.append(('<polyline class="after" points="1,15 1,5 17,5 17,15"/>', "chosen"))
    if limits:
        signs.append(('<polyline class="was" points="9,1 9,17"/>', "limit of the original"))
        signs.append(('<polyline class="limit" points="9,1 9,17"/>', "limit of the chosen"))
    title = f"{held['what']}: {sum(held['original'])} of the original as bars, of the chosen candidate as an outline"
    beyond = held.get("beyond", 0)
    note = soft(f"{beyond} of the candidate's lie outside and are counted at the ends.") if beyond else ""
    return card("Spread of the answers", histogram(held, limits, title), legend(signs), note, _alarm(item))


def differences(tree: Mapping[str, Any]) -> str:
    """Classes that became others, the commonest first, and the samples by row."""
    item = chosen(tree)
    if item is None or item["metric"] != "top1":
        return ""
    title = "Samples on which the classes differ"
    if not item["disagreements"]:
        return card(title, soft("None: the chosen candidate gives the original's class on every sample."))
    pairs = item.get("confusions", [])
    most = max([pair["count"] for pair in pairs] or [1])
    labelled = item["labelled"]
    head = ["original → chosen", "samples", *(["right lost", "right won"] if labelled else []), ""]
    rows: list[list[Cell]] = [
        [
            f"{_name(pair['original'])} → {_name(pair['candidate'])}",
            str(pair["count"]),
            *([str(pair["lost"]), str(pair["won"])] if labelled else []),
            bar(pair["count"] / most, "refused" if pair["lost"] > pair["won"] else "passed"),
        ]
        for pair in pairs
    ]
    parts = [table(head, rows, caption="Classes of the original that became others")] if rows else []
    shown = item["disagreements"]
    lines = [[str(d["row"]), _name(d["original"]), _name(d["candidate"]), d["truth"] or "–", _became(d)] for d in shown]
    parts.append("<h3>By row of the samples, what was lost first</h3>")
    lines.sort(key=lambda line: ("lost", "wrong before and after", "won", "").index(str(line[-1])))
    parts.append(table(["row", "original", "chosen", "true class", ""], lines[:15], caption="Samples whose class differs"))
    if len(lines) > 15:
        parts.append(soft("More of them are in the report as JSON."))
    return card(title, *parts, note=f"{percent(item['agreement'])} of {item['samples']} samples have the original's class.")


def _alarm(item: Mapping[str, Any]) -> str:
    held = item["threshold"]
    if held is None:
        return ""
    return facts(
        [
            ("alarm limit", f"{held['derived']:.6g} for the chosen, {held['declared']:.6g} for the original"),
            ("alarms", f"{percent(held['alarms'])} of the samples with either"),
        ]
    )


def _became(held: Mapping[str, Any]) -> str:
    if not held["truth"]:
        return ""
    return "lost" if held["original"] == held["truth"] else "won" if held["candidate"] == held["truth"] else "wrong before and after"


def _name(label: str) -> str:
    return label or "(nothing)"
