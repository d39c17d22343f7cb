"""The report as one HTML page: no scripts, no network, readable in light and dark, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from converters.report.answers import differences, scores
from converters.report.calibration import calibration, ranges
from converters.report.candidates import candidates, fronts, not_made
from converters.report.layers import pruning, sensitivity
from converters.report.measure import title
from converters.report.provenance import made_with, passes, source
from converters.report.style import STYLE
from converters.report.summary import head, verdict


def render(tree: Mapping[str, Any]) -> str:
    """The page for a report tree (``findings.report_tree``)."""
    body = [
        head(tree),
        verdict(tree),
        _grid(fronts(tree), candidates(tree), not_made(tree)),
        '<div class="flow">',
        *(scores(tree), differences(tree), sensitivity(tree), pruning(tree), calibration(tree), ranges(tree)),
        *(source(tree), passes(tree), made_with(tree)),
        "</div>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title(tree))}</title><style>{STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def _grid(*cards: str) -> str:
    return f'<div class="grid">{"".join(cards)}</div>'
