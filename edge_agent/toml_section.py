"""One table of a TOML file: typed reads with defaults, every problem named by key path, unknown keys reported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import Problem
from edge_agent.protocol.topics import valid_word

_NAME_RULE = "must be 1-64 letters, digits, '.', '_' or '-', starting with a letter or digit"


class Section:
    """Ask it for every key it may have, then call :meth:`done`, which complains about the rest."""

    def __init__(self, tree: Mapping[str, Any] | None, where: str, problems: list[Problem], base: Path) -> None:
        self.present = tree is not None
        self.where = where
        self.problems = problems
        self.base = base
        self._tree = dict(tree or {})
        self._asked: list[str] = []

    def bad(self, key: str, what: str) -> None:
        self.problems.append(Problem(f"{self.where}.{key}" if self.where else key, what))

    def has(self, key: str) -> bool:
        """Whether the file says anything of ``key``, right or wrong."""
        return key in self._tree

    def _take(self, key: str) -> Any:
        self._asked.append(key)
        return self._tree.get(key)

    def section(self, key: str, *, required: bool = False) -> Section:
        value = self._take(key)
        if value is not None and not isinstance(value, dict):
            self.bad(key, "must be a table")
            value = None
        elif value is None and required:
            self.bad(key, f"is missing: the file needs a [{key}] table" if not self.where else "is missing")
        return Section(value, f"{self.where}.{key}" if self.where else key, self.problems, self.base)

    def sections(self, key: str) -> list[Section]:
        value = self._take(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.bad(key, f"must be written as [[{key}]] tables")
            return []
        prefix = f"{self.where}.{key}" if self.where else key
        return [Section(item, f"{prefix}[{i}]", self.problems, self.base) for i, item in enumerate(value)]

    def text(self, key: str, default: str) -> str:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            self.bad(key, "must be a non-empty string")
            return default
        return value

    def name(self, key: str, *, required: bool) -> str:
        value = self._take(key)
        if value is None:
            if required and self.present:
                self.bad(key, "is missing")
            return ""
        if not isinstance(value, str) or not valid_word(value):
            self.bad(key, f"{value!r} {_NAME_RULE}")
            return ""
        return value

    def choice(self, key: str, default: str, words: tuple[str, ...]) -> str:
        value = self._take(key)
        if value is None:
            return default
        if value not in words:
            self.bad(key, f"{str(value)[:40]!r} is not one of {', '.join(words)}")
            return default
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.bad(key, "must be true or false")
            return default
        return value

    def words(self, key: str) -> tuple[str, ...]:
        """A list of strings, none of them empty."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            self.bad(key, "must be a list of strings")
            return ()
        return tuple(value)

    def path(self, key: str, default: Path | None) -> Path | None:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value or "\0" in value:
            self.bad(key, "must be a path")
            return default
        return self.base / value

    def whole(self, key: str, default: int, *, low: int, high: int) -> int:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.bad(key, f"must be a whole number from {low} to {high}, not {value!r}")
            return default
        return value

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self.bad(key, f"must be a number from {low:g} to {high:g}, not {value!r}")
            return default
        return float(value)

    def labels(self, key: str) -> dict[str, str]:
        value = self._take(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(v, str) and valid_word(str(k)) for k, v in value.items()):
            self.bad(key, 'must be a table of words to strings, e.g. labels = { site = "lab" }')
            return {}
        return dict(value)

    def rest(self) -> dict[str, Any]:
        """Every key not asked for yet; the caller checks them."""
        left = {k: v for k, v in self._tree.items() if k not in self._asked}
        self._asked.extend(left)
        return left

    def done(self) -> None:
        for key in self._tree:
            if key not in self._asked:
                from difflib import get_close_matches  # for mistakes alone

                near = get_close_matches(key, self._asked, 1)
                self.bad(key, "is not a key this version knows" + (f"; did you mean {near[0]!r}?" if near else ""))
