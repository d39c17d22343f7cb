"""Checking a table of options against what is allowed, so that a configuration's mistakes come out all at once, by key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.errors import Problem

Rule = Callable[[Any], str]
"""What is wrong with a value, as the end of a sentence; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class Option:
    """One key that may, or must, be given."""

    rule: Rule
    required: bool = False


def check_options(kinds: Mapping[str, Mapping[str, Option]], kind: str, options: Mapping[str, Any], where: str) -> list[Problem]:
    """Every problem of ``options`` for ``kind``: unknown kind or key, missing key, wrong value."""
    known = kinds.get(kind)
    if known is None:
        return [Problem(f"{where}.kind", f"{str(kind)[:64]!r} is not one of {', '.join(kinds)}")]
    problems = [Problem(f"{where}.{key}", "is missing") for key, option in known.items() if option.required and key not in options]
    for key, value in options.items():
        if key not in known:
            near = _near(str(key), known)
            hint = f"; did you mean {near[0]}?" if near else f"; {kind} has {', '.join(known)}"
            problems.append(Problem(f"{where}.{key}", f"is not known{hint}"))
            continue
        wrong = known[key].rule(value)
        if wrong:
            problems.append(Problem(f"{where}.{key}", wrong))
    return problems


def _near(word: str, known: Mapping[str, Option]) -> list[str]:
    from difflib import get_close_matches  # for mistakes alone

    return get_close_matches(word, known, 1)


def text(*, pattern: str = "", endings: tuple[str, ...] = ()) -> Rule:
    """Text that is not empty, matches ``pattern`` wholly and ends with one of ``endings``, where these are given."""

    def rule(value: Any) -> str:
        if not isinstance(value, str) or not value or "\x00" in value:
            return "must be text, not empty"
        if pattern and not re.fullmatch(pattern, value):
            return f"{value[:80]!r} is not allowed here; it must match {pattern}"
        if endings and not value.lower().endswith(endings):
            return f"{value[-80:]!r} must end with {', '.join(endings)}"
        return ""

    return rule


def topic_filter() -> Rule:
    """An MQTT topic filter (MQTT 3.1.1, section 4.7): ``+`` stands alone in its level, ``#`` alone in the last."""

    def rule(value: Any) -> str:
        if not isinstance(value, str) or not 0 < len(value.encode("utf-8", "replace")) <= 65_535 or "\x00" in value:
            return "must be text, not empty"
        levels = value.split("/")
        misplaced = any("+" in level and level != "+" for level in levels) or "#" in value[:-1] or ("#" in value and levels[-1] != "#")
        return "has a wildcard where none may be: + stands alone between slashes, # alone at the end" if misplaced else ""

    return rule


def texts() -> Rule:
    """A list of one or more different words."""

    def rule(value: Any) -> str:
        right = isinstance(value, (list, tuple)) and value and all(isinstance(item, str) and item for item in value)
        return "" if right and len(set(value)) == len(value) else "must be a list of different words"

    return rule


def one_of(*words: str) -> Rule:
    return lambda value: "" if value in words else f"must be one of {', '.join(words)}, is {str(value)[:40]!r}"


def flag() -> Rule:
    return lambda value: "" if isinstance(value, bool) else "must be true or false"


def whole(*, low: int, high: int | None = None) -> Rule:
    def rule(value: Any) -> str:
        right = isinstance(value, int) and not isinstance(value, bool) and value >= low and (high is None or value <= high)
        return "" if right else f"must be a whole number, {low} {'or more' if high is None else f'to {high}'}"

    return rule


def number(*, low: float, high: float) -> Rule:
    def rule(value: Any) -> str:
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high
        return "" if right else f"must be a number, {low:g} to {high:g}"

    return rule
