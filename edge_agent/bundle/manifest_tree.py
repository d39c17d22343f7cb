"""Typed looks into a JSON tree that anybody may have written. What is wrong is collected by key path, and a usable value stands in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.errors import Problem


class JsonTree:
    """Looks into objects of one JSON document; ``where`` is the path of the object that is looked into, empty at the top."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def bad(self, where: str, what: str) -> None:
        """Writes down that the value at ``where`` is wrong."""
        self.problems.append(Problem(where, what))

    def get(self, tree: Mapping[str, Any], key: str, kind: type | tuple[type, ...], default: Any, where: str = "") -> Any:
        """The value of ``key``; without it ``default``, and where that is ``None`` the key had to be there."""
        path = path_of(where, key)
        if key not in tree:
            if default is None:
                self.bad(path, "is missing")
            return default
        value = tree[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.bad(path, f"has the wrong type {type(value).__name__}")
            return default
        return value

    def text(self, tree: Mapping[str, Any], key: str, default: str | None, where: str = "") -> str:
        return str(self.get(tree, key, str, default, where) or "")

    def match(self, tree: Mapping[str, Any], key: str, pattern: re.Pattern[str], where: str = "") -> str:
        """Text that must have the form of ``pattern``."""
        text = self.text(tree, key, None, where)
        if not pattern.fullmatch(text):
            self.bad(path_of(where, key), f"{text[:80]!r} is not allowed here")
        return text

    def word(self, tree: Mapping[str, Any], key: str, words: Sequence[str], default: str | None, where: str) -> str:
        """Text that must be one of ``words``."""
        text = self.text(tree, key, default, where)
        if text not in words:
            self.bad(path_of(where, key), f"{text[:80]!r} is not one of {', '.join(words)}")
        return text

    def number(self, tree: Mapping[str, Any], key: str, default: float, where: str) -> float:
        """A finite number, 0 or more."""
        value = finite(self.get(tree, key, (int, float), default, where))
        if not 0 <= value < float("inf"):
            self.bad(path_of(where, key), "must be a finite number, 0 or more")
            return default
        return value

    def whole(self, tree: Mapping[str, Any], key: str, where: str) -> int:
        """A whole number, 0 or more."""
        value = self.get(tree, key, int, None, where)
        if value is None or value < 0:
            self.bad(path_of(where, key), "must be a whole number, 0 or more")
            return 0
        return int(value)

    def items(self, tree: Mapping[str, Any], key: str, where: str = "") -> list[Any]:
        return [*self.get(tree, key, list, [], where)]

    def table(self, tree: Mapping[str, Any], key: str) -> dict[str, Any]:
        return dict(self.get(tree, key, dict, {}))

    def strings(self, tree: Mapping[str, Any], key: str, where: str = "") -> tuple[str, ...]:
        found = self.items(tree, key, where)
        if not all(isinstance(item, str) for item in found):
            self.bad(path_of(where, key), "must be a list of strings")
            return ()
        return tuple(found)

    def mapping(self, value: Any, where: str) -> dict[str, Any]:
        """``value`` where it is an object, else an empty one."""
        if not isinstance(value, dict):
            self.bad(where, "must be an object")
            return {}
        return value


def path_of(where: str, key: str) -> str:
    """The path of ``key`` in the object at ``where``."""
    return f"{where}.{key}" if where else key


def finite(value: float) -> float:
    """``value`` as a float; infinity for a whole number no float can hold."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")
