"""XML into elements that know their line, by the standard library's expat: no document types, no entities, bounded size and depth."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

MAX_DEPTH = 200
MAX_ELEMENTS = 2_000_000
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_SKIPPED = frozenset({"Extension", "ModelStats", "ModelExplanation", "ModelVerification", "Annotation", "Timestamp", "MiningBuildTask"})
"""Says nothing about how a score is computed."""


class RefusedElement(Exception):
    """Something that cannot be taken over: the line it is on, its name and why."""

    def __init__(self, line: int, name: str, why: str) -> None:
        super().__init__(f"line {line}: {name}: {why}")


@dataclass(slots=True)
class Element:
    """``name`` without its namespace; ``text`` is what stands directly in it."""

    name: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def get(self, key: str, default: str = "") -> str:
        return self.attributes.get(key, default)

    def need(self, key: str) -> str:
        """An attribute that must be there."""
        if key not in self.attributes:
            raise self.refused(f"has no {key}")
        return self.attributes[key]

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number; without ``default`` it must be there."""
        if key not in self.attributes and default is not None:
            return default
        return self.parse(self.need(key), key)

    def parse(self, text: str, what: str) -> float:
        value = float(text) if len(text) < 400 and _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value):
            raise self.refused(f"{what} {text[:40]!r} is not a number")
        return value

    def all(self, *names: str) -> Iterator[Element]:
        """Children of these names, in order."""
        return (child for child in self.children if child.name in names)

    def first(self, *names: str) -> Element | None:
        return next(self.all(*names), None)

    def only(self, *names: str) -> Element:
        """The one child of these names."""
        found = list(self.all(*names))
        if len(found) != 1:
            raise self.refused(f"has {len(found)} of {', '.join(names[:4])}; one was expected")
        return found[0]

    def refused(self, why: str) -> RefusedElement:
        label = next((f" {key}={self.attributes[key][:40]!r}" for key in ("name", "id", "field", "function") if key in self.attributes), "")
        return RefusedElement(self.line, f"{self.name}{label}", why)


def parse_xml(data: bytes) -> Element:
    """The root element. Raises :class:`RefusedElement` for what is no XML, or is more than XML needs to be."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.EntityDeclHandler = reader.doctype
    parser.ExternalEntityRefHandler = reader.doctype
    reader.parser = parser
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise RefusedElement(error.lineno, "XML", expat.ErrorString(error.code)) from None
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise RefusedElement(1, "XML", str(error)[:200]) from None
    assert reader.root is not None  # expat demands one
    return reader.root


class _Reader:
    parser: Any = None

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._skipping = 0
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        line, local = self.parser.CurrentLineNumber, name.rpartition(" ")[2]
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise RefusedElement(line, local, f"the file has more than {MAX_ELEMENTS} elements")
        if len(self._open) + self._skipping >= MAX_DEPTH:
            raise RefusedElement(line, local, f"elements are nested more than {MAX_DEPTH} deep")
        if self._skipping or local in _SKIPPED:
            self._skipping += 1
            return
        made = Element(local, attributes, line)
        if self._open:
            self._open[-1].children.append(made)
        else:
            self.root = made
        self._open.append(made)

    def end(self, name: str) -> None:
        if self._skipping:
            self._skipping -= 1
        else:
            self._open.pop()

    def characters(self, text: str) -> None:
        if self._open and not self._skipping:
            held = self._open[-1]
            held.text = held.text + text if held.text or not text.isspace() else ""

    def doctype(self, *_: Any) -> int:
        raise RefusedElement(self.parser.CurrentLineNumber, "DOCTYPE", "document types and entities are refused; PMML needs none")
