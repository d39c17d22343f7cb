"""One table of a profile being read: keys are taken out of it, and what is wrong is noted by key path. Opens no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from device_profiles.versions import parse_version


class Table:
    """Takes keys out of ``tree`` and adds to ``problems``, each beginning with ``path``."""

    def __init__(self, tree: Mapping[str, Any], path: str, problems: list[str]) -> None:
        self._left = dict(tree)
        self._path = path
        self._problems = problems

    def bad(self, key: str, what: str) -> None:
        self._problems.append(f"{self._path}.{key}: {what}" if self._path else f"{key}: {what}")

    def done(self) -> None:
        """Whatever was not taken is not known: a typing error must not pass for a default."""
        for key in self._left:
            self.bad(key, "is not a key of a profile")

    def table(self, path: str, node: Mapping[str, Any]) -> Table:
        return Table(node, path, self._problems)

    def tables(self, key: str, known: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        node = self._take(key, dict, {})
        found: dict[str, Mapping[str, Any]] = {}
        for name, value in node.items():
            if name not in known or not isinstance(value, dict):
                self.bad(f"{key}.{name}", f"must be a table named one of {', '.join(known)}")
            else:
                found[name] = value
        return found

    def each(self, key: str) -> list[Table]:
        """The tables of the list ``key``, none when it is absent."""
        nodes = self._take(key, list, [])
        if not all(isinstance(node, dict) for node in nodes):
            self.bad(key, "must be a list of tables")
            return []
        prefix = f"{self._path}.{key}" if self._path else key
        return [self.table(f"{prefix}[{index}]", node) for index, node in enumerate(nodes)]

    def options(self, key: str) -> tuple[tuple[str, str], ...]:
        """A table of texts, numbers and true or false, every value as text: what libraries take."""
        node = self._take(key, dict, {})
        for name, value in node.items():
            if not isinstance(value, (str, int, float)):
                self.bad(f"{key}.{name}", f"has the wrong type {type(value).__name__}")
        return tuple((name, str(int(value)) if isinstance(value, bool) else str(value)) for name, value in node.items())

    def flag(self, key: str) -> bool:
        """True or false; false when absent."""
        value = self._left.pop(key, False)
        if not isinstance(value, bool):
            self.bad(key, f"has the wrong type {type(value).__name__}")
        return value is True

    def optional_table(self, key: str, *, required: bool = False) -> Table:
        return self.table(key, self._take(key, dict, None if required else {}) or {})

    def text(self, key: str) -> str:
        value = self._take(key, str, None)
        if value is not None and not value.strip():
            self.bad(key, "is empty")
        return value or ""

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        value = self.text(key)
        if value and value not in known:
            self.bad(key, f"{value!r} is not one of {', '.join(known)}")
        return value

    def texts(self, key: str, *, required: bool = True) -> tuple[str, ...]:
        items = self._take(key, list, None if required else []) or []
        if not all(isinstance(item, str) and item for item in items):
            self.bad(key, "must be a list of non-empty strings")
            return ()
        if len(set(items)) != len(items):
            self.bad(key, "names something twice")
        return tuple(items)

    def whole(self, key: str, low: int, high: int) -> int:
        value = self._take(key, int, None)
        if value is None:
            return low
        if not low <= value <= high:
            self.bad(key, f"{value} is not from {low} to {high}")
            return low
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        value = self._take(key, (int, float), default)
        if value is None:
            return 0.0
        if not 0 < value < float("inf"):
            self.bad(key, "must be a finite number above 0")
            return 0.0
        return float(value)

    def version(self, key: str) -> str:
        text = str(self._take(key, str, ""))
        if text:
            self.check_version(key, text)
        return text

    def check_version(self, key: str, text: str) -> None:
        try:
            parse_version(text)
        except ValueError as error:
            self.bad(key, str(error))

    def _take(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        """``default`` None means the key must be there; after a problem the answer is None or the default."""
        if key not in self._left:
            if default is None:
                self.bad(key, "is missing")
            return default
        value = self._left.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.bad(key, f"has the wrong type {type(value).__name__}")
            return default
        return value
