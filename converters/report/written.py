"""The report as files: a page, the same as JSON, and a picture of the front."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.outputs import page_files
from converters.report.front_png import front_png
from converters.report.page import render
from edge_agent.update.durable import write_durable


@dataclass(frozen=True, slots=True)
class Reports:
    """Contents by the ending of their file."""

    html: bytes
    json: bytes
    png: bytes | None

    def files(self, html: Path, json: Path, png: Path) -> dict[Path, bytes]:
        """What goes where; no picture where there is nothing to draw."""
        found = {html: self.html, json: self.json}
        return found if self.png is None else {**found, png: self.png}


def reports(tree: Mapping[str, Any]) -> Reports:
    """Of a report tree (``findings.report_tree``). One candidate alone makes no front worth a picture."""
    text = json.dumps(tree, indent=2, sort_keys=True) + "\n"
    return Reports(render(tree).encode(), text.encode(), front_png(tree) if len(tree["candidates"]) > 1 else None)


def write_reports(tree: Mapping[str, Any], out: Path) -> tuple[Path, ...]:
    """The page at ``out``, JSON and picture beside it (``F.html``, ``F.json``, ``F.front.png``). Gives the paths that were written."""
    made = reports(tree).files(*page_files(out))
    for path, content in made.items():
        write_durable(path, content)
    return tuple(made)
