"""Where it came from and what it was made with: the file, the passes, the options, the tools."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from converters.report.html import Cell, Raw, card, facts, kb, listed, soft, table


def source(tree: Mapping[str, Any]) -> str:
    held = tree["source"]
    origin = held.get("origin") or held["format"]
    pairs: list[tuple[str, Cell]] = [
        ("file", f"{held['file']}, {kb(held['bytes'])}"),
        ("format", held["format"] if origin == held["format"] else f"{origin}, translated to {held['format']}"),
        ("sha256", Raw(f"<code>{escape(held['sha256'])}</code>")),
        ("judged on", f"{tree['evaluation_samples']} samples"),
    ]
    if tree["golden_cases"]:
        pairs.append(("golden cases", f"{tree['golden_cases']} real samples with the model's own answers"))
    notes = held.get("notes", [])
    return card("Source", facts(pairs), "<h3>Notes</h3>" + listed(notes) if notes else "")


def passes(tree: Mapping[str, Any]) -> str:
    """What each pass did to the network; those that found nothing say so."""
    done = tree["passes"]
    if not done:
        return card("Passes", soft("None: the file is packed as it is."))
    rows = [[_words(p["name"]), _nodes(p)] for p in done if p["changed"]]
    idle = ", ".join(_words(p["name"]) for p in done if not p["changed"])
    made = table(["pass", "nodes"], rows, caption="Passes that changed the network, in order") if rows else ""
    return card("Passes", made, soft(f"Changed nothing: {idle}.") if idle else "")


def made_with(tree: Mapping[str, Any]) -> str:
    """Options and versions: enough to make it again."""
    options = tree.get("recipe", {})
    pairs: list[tuple[str, Cell]] = [(name.replace("_", " "), _said(value)) for name, value in options.items() if _worth(name, value)]
    tools: list[tuple[str, Cell]] = [(name, version) for name, version in tree["tools"].items()]
    said = "<h3>Options</h3>" + facts(pairs) if pairs else ""
    return card("Made with", "<h3>Tools</h3>", facts(tools), said)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _nodes(held: Mapping[str, Any]) -> str:
    before, after = held["nodes_before"], held["nodes_after"]
    return f"{before} → {after}" if before != after else f"changed, {after} as before"


def _worth(name: str, value: Any) -> bool:
    return name not in ("name", "version", "processing") and value not in ([], {}, "")


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_said(item) for item in value)
    return str(value)
