"""Plain text tables. What devices say of themselves is printed only after control characters were taken out."""

from __future__ import annotations

from collections.abc import Sequence

MAX_CELL = 72


def clean(text: str) -> str:
    """``text`` with everything that could steer a terminal replaced by ``?``."""
    return "".join(c if c.isprintable() else "?" for c in text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, wide_last: bool = False) -> str:
    """Columns padded to their widest cell, two spaces between; numbers to the right. ``wide_last``: the last column is never cut."""
    cells = [[_cut(clean(cell), limit=not (wide_last and i == len(row) - 1)) for i, cell in enumerate(row)] for row in rows]
    widths = [max([len(head[i]), *(len(row[i]) for row in cells)]) for i in range(len(head))]
    right = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(_line(row, widths, right) for row in [list(head), *cells])


def number(value: float | None, digits: int = 1) -> str:
    """``value`` with ``digits`` decimals, ``-`` for nothing."""
    return "-" if value is None else f"{value:.{digits}f}"


def _cut(cell: str, *, limit: bool) -> str:
    return cell if not limit or len(cell) <= MAX_CELL else cell[: MAX_CELL - 3] + "..."


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(".", "", 1).removeprefix("-").isdigit()


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(row, widths, right, strict=True))
    return "  ".join(padded).rstrip()
