"""Pieces of the page: cards, tables with bars, and numbers as people read them. All text is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Raw:
    """HTML that was made here, of parts that were escaped."""

    text: str


Cell = str | Raw


def cell(content: Cell) -> str:
    return content.text if isinstance(content, Raw) else escape(content)


def card(title: str, *parts: str, wide: bool = False, note: str = "") -> str:
    """A section with its heading; ``note`` is escaped, ``parts`` are HTML."""
    said = soft(note) if note else ""
    return f'<section class="card{" wide" * wide}"><h2>{escape(title)}</h2>{said}{"".join(parts)}</section>'


def soft(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>'


def listed(lines: Sequence[str], kind: str = "") -> str:
    """A list, every line once."""
    items = "".join(f"<li>{escape(line)}</li>" for line in dict.fromkeys(lines))
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    caption: str,
    kind: str = "",
    kinds: Sequence[str] = (),
    below: Sequence[Sequence[str]] = (),
) -> str:
    """``caption`` is for those who cannot see; ``kinds`` are the rows' classes, ``kind`` the table's; ``below`` are lines under each row.
    On narrow screens a table of kind ``stack`` has one block a row, its cells named by their column."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        _row(head, cells, kinds[at] if kinds else "", tuple(dict.fromkeys(below[at])) if below else ()) for at, cells in enumerate(rows)
    )
    return (
        f'<div class="scroll"><table class="{kind}"><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(head: Sequence[str], cells: Sequence[Cell], kind: str, below: Sequence[str]) -> str:
    inner = "".join(f'<td data-of="{escape(name)}">{cell(content)}</td>' for name, content in zip(head, cells, strict=True))
    if not below:
        return f'<tr class="{kind}">{inner}</tr>' if kind else f"<tr>{inner}</tr>"
    lines = "<br>".join(escape(line) for line in below)
    more = f'<tr class="{kind} why"><td></td><td colspan="{len(head) - 1}">{lines}</td></tr>'
    return f'<tr class="{kind} said">{inner}</tr>{more}'


def facts(pairs: Sequence[tuple[str, Cell]]) -> str:
    """Names and what they are."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{cell(content)}</dd>" for name, content in pairs) + "</dl>"


def bar(part: float, kind: str = "passed", start: float = 0.0) -> Raw:
    """A bar from ``start`` over ``part`` of its column, both shares of its width."""
    left, width = 100 * min(max(start, 0.0), 1.0), 100 * min(max(part, 0.004), 1.0)
    return Raw(f'<span class="bar" aria-hidden="true"><i class="{kind}" style="left:{min(left, 99.6):.1f}%;width:{width:.1f}%"></i></span>')


def kb(count: int) -> str:
    return f"{count / 1000:.1f} kB" if count < 10_000_000 else f"{count / 1e6:.1f} MB"


def us(value: float) -> str:
    return f"{value:.1f} µs" if value < 1000 else f"{value / 1000:.2f} ms"


def db(value: float | None) -> str:
    """``None`` stands for outputs that cannot be compared (no finite numbers, another shape)."""
    return "none" if value is None else "exact" if value > 180 else f"{value:.1f} dB"


def count(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"


def points(drop: float) -> str:
    return f"{100 * abs(drop):.2f} points {'gained' if drop < 0 else 'lost'}"
