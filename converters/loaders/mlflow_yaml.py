"""The YAML that MLflow writes: mappings by indentation, lists, quoted and plain words. Anything else is refused by its line."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 40
_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s'"#&*!|>%@`{}\[\],-][^#{}\[\],]*?|-?[\w.][\w.\-/@+ ]*?)\s*:(?:\s+(.*)|)$""")
_BEYOND = re.compile(r"[&*!%@`?](?=\S)|<<:")


class BadYaml(ValueError):
    """A line that is not read here, by its number."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")


class _Lines:
    """Lines that say something, each with its number and indentation."""

    def __init__(self, text: str) -> None:
        rows = [(n, len(r) - len(r.lstrip(" ")), r.strip()) for n, r in enumerate(text.splitlines(), 1)]
        self.rows = [row for row in rows if row[2] and not row[2].startswith(("#", "---", "%"))]
        self.at = 0

    def peek(self) -> tuple[int, int, str] | None:
        return self.rows[self.at] if self.at < len(self.rows) else None

    def replace(self, row: tuple[int, int, str]) -> None:
        self.rows[self.at] = row


def parse_yaml(text: str) -> dict[str, Any]:
    """The mapping in ``text``; scalars are text, or ``None`` where they are empty or null. Raises :class:`BadYaml`."""
    lines = _Lines(text)
    first = lines.peek()
    if first is None:
        return {}
    made = _block(lines, first[1], 0)
    left = lines.peek()
    if left is not None:
        raise BadYaml(left[0], "is indented otherwise than the lines before it")
    if not isinstance(made, dict):
        raise BadYaml(first[0], "a mapping (key: value) was expected")
    return made


def _block(lines: _Lines, indent: int, depth: int) -> Any:
    row = lines.peek()
    if depth > MAX_DEPTH:
        raise BadYaml(row[0] if row else 0, "is nested too deeply")
    if row is not None and (row[2] == "-" or row[2].startswith("- ")):
        return _list(lines, indent, depth)
    made: dict[str, Any] = {}
    while (row := lines.peek()) is not None and row[1] == indent and not row[2].startswith("- "):
        number, _, text = row
        found = _KEY.fullmatch(text)
        if found is None:
            raise BadYaml(number, "key: value was expected")
        key = str(_scalar(found[1], number))
        if key in made:
            raise BadYaml(number, f"{key!r} stands twice")
        lines.at += 1
        made[key] = _value(lines, (found[2] or "").strip(), number, indent, depth)
    return made


def _list(lines: _Lines, indent: int, depth: int) -> list[Any]:
    made = []
    while (row := lines.peek()) is not None and row[1] == indent and (row[2] == "-" or row[2].startswith("- ")):
        number, _, text = row
        rest = text[1:].strip()
        if rest and _KEY.fullmatch(rest) and rest[0] not in "'\"":
            lines.replace((number, indent + len(text) - len(text[1:].lstrip()), rest))
            made.append(_block(lines, indent + len(text) - len(text[1:].lstrip()), depth + 1))
            continue
        lines.at += 1
        made.append(_value(lines, rest, number, indent, depth))
    return made


def _value(lines: _Lines, text: str, number: int, indent: int, depth: int) -> Any:
    following = lines.peek()
    if not text:
        below = following is not None and (following[1] > indent or (following[1] == indent and following[2].startswith("- ")))
        return _block(lines, following[1], depth + 1) if following is not None and below else None
    if text[0] in "|>":
        return _folded(lines, indent)
    while not _closed(text):  # quoted words and plain ones go on in lines that are indented more
        following = lines.peek()
        if following is None:
            raise BadYaml(number, "its quotes are not closed")
        lines.at += 1
        text = f"{text} {following[2]}"
    if text[0] not in "'\"":
        text = " ".join([text, _folded(lines, indent)]).strip()
    return _scalar(text, number)


def _folded(lines: _Lines, indent: int) -> str:
    parts = []
    while (row := lines.peek()) is not None and row[1] > indent:
        parts.append(row[2])
        lines.at += 1
    return " ".join(parts)


def _closed(text: str) -> bool:
    """Whether a word that begins with a quote also ends with it."""
    if text[0] == "'":
        return len(text) > 1 and text.endswith("'") and text.count("'") % 2 == 0
    if text[0] == '"':
        return re.fullmatch(r'"(?:[^"\\]|\\.)*"', text) is not None
    return True


def _scalar(text: str, number: int) -> Any:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text.startswith('"'):
        try:
            return json.loads(text.replace("\\ ", " "))
        except ValueError:
            raise BadYaml(number, "its double quotes hold something that is not read here") from None
    if text in ("null", "~", ""):
        return None
    if text == "{}":
        return {}
    if text == "[]":
        return []
    if text[0] in "{[" or _BEYOND.match(text):
        raise BadYaml(number, f"{text[:30]!r}: this form of YAML is not read here")
    return text.partition(" #")[0].rstrip()
