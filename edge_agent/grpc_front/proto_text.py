"""Reads what our ``.proto`` files use of the language: messages, enums, oneof, map, repeated, services. To descriptors, as data.

Generated code would carry the version of the protobuf compiler that made it, and refuse to be imported beside an older library; and code of
an old compiler is promised to work with the next major version only. Descriptors themselves are the same in all of them (4.25 to 7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r'\s*(?://[^\n]*)?(?:("[^"]*")|([A-Za-z_][\w.]*|\d+|[{}()<>=;,]))?')
_SCALARS = ("double", "float", "int64", "uint64", "int32", "uint32", "bool", "string", "bytes")


@dataclass(frozen=True, slots=True)
class Method:
    """One call of a service; ``request`` and ``answer`` are full names of messages."""

    service: str
    name: str
    request: str
    answer: str
    streams: bool


class ProtoReader:
    """Call :meth:`read` once. ``file`` is an empty FileDescriptorProto to fill. Raises ValueError for what is not understood."""

    def __init__(self, text: str, file: Any) -> None:
        self._words = _tokens(text)
        self._file = file
        self._references: list[tuple[Any, str, str]] = []
        self._kinds: dict[str, int] = {}
        self.methods: list[Method] = []

    def read(self) -> None:
        for word in self._words:
            if word == "syntax":
                self._expect("=")
                self._file.syntax = next(self._words)
                self._expect(";")
            elif word == "package":
                self._file.package = next(self._words)
                self._expect(";")
            elif word == "message":
                self._message(self._file.message_type.add(), self._file.package)
            elif word == "enum":
                self._enum(self._file.enum_type.add(), self._file.package)
            elif word == "service":
                self._service()
            else:
                raise ValueError(f"{word!r} is not expected here")
        for field, name, scope in self._references:
            field.type_name = "." + self._resolved(name, scope)
            field.type = self._kinds[field.type_name[1:]]

    def _message(self, message: Any, scope: str) -> None:
        message.name = next(self._words)
        full = f"{scope}.{message.name}"
        self._kinds[full] = _MESSAGE
        self._expect("{")
        for word in self._words:
            if word == "}":
                return
            if word == "message":
                self._message(message.nested_type.add(), full)
            elif word == "enum":
                self._enum(message.enum_type.add(), full)
            elif word == "oneof":
                self._oneof(message, full)
            elif word == "map":
                self._map(message, full)
            elif word == "repeated":
                self._field(message, next(self._words), full, repeated=True)
            else:
                self._field(message, word, full)
        raise ValueError(f"message {full} does not end")

    def _field(self, message: Any, kind: str, scope: str, *, repeated: bool = False) -> Any:
        field = message.field.add(name=next(self._words))
        self._expect("=")
        field.number = int(next(self._words))
        self._expect(";")
        field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
        self._typed(field, kind, scope)
        return field

    def _typed(self, field: Any, kind: str, scope: str) -> None:
        if kind in _SCALARS:
            field.type = getattr(field, f"TYPE_{kind.upper()}")
        else:
            self._references.append((field, kind, scope))

    def _oneof(self, message: Any, scope: str) -> None:
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=next(self._words))
        self._expect("{")
        for word in self._words:
            if word == "}":
                return
            self._field(message, word, scope).oneof_index = index

    def _map(self, message: Any, scope: str) -> None:
        """A map is a repeated message of key and value."""
        self._expect("<")
        key = next(self._words)
        self._expect(",")
        value = next(self._words)
        self._expect(">")
        field = self._field(message, "", scope, repeated=True)
        self._references.pop()
        name = "".join(part.capitalize() for part in field.name.split("_")) + "Entry"
        entry = message.nested_type.add(name=name)
        entry.options.map_entry = True
        for number, (title, kind) in enumerate((("key", key), ("value", value)), 1):
            self._typed(entry.field.add(name=title, number=number, label=field.LABEL_OPTIONAL), kind, scope)
        field.type, field.type_name = field.TYPE_MESSAGE, f".{scope}.{name}"

    def _enum(self, enum: Any, scope: str) -> None:
        enum.name = next(self._words)
        self._kinds[f"{scope}.{enum.name}"] = _ENUM
        self._expect("{")
        for word in self._words:
            if word == "}":
                return
            self._expect("=")
            enum.value.add(name=word, number=int(next(self._words)))
            self._expect(";")

    def _service(self) -> None:
        service = f"{self._file.package}.{next(self._words)}"
        self._expect("{")
        for word in self._words:
            if word == "}":
                return
            if word != "rpc":
                raise ValueError(f"{word!r} is not expected in a service")
            name = next(self._words)
            request, streams = self._party()
            self._expect("returns")
            answer, _ = self._party()
            self._expect("{")
            self._expect("}")
            package = self._file.package
            self.methods.append(Method(service, name, f"{package}.{request}", f"{package}.{answer}", streams))

    def _party(self) -> tuple[str, bool]:
        self._expect("(")
        name = next(self._words)
        streams = name == "stream"
        name = next(self._words) if streams else name
        self._expect(")")
        return name, streams

    def _resolved(self, name: str, scope: str) -> str:
        """The full name of what ``name`` means inside ``scope``."""
        while True:
            full = f"{scope}.{name}" if scope else name
            if full in self._kinds:
                return full
            if not scope:
                raise ValueError(f"{name} is not declared")
            scope = scope.rpartition(".")[0]

    def _expect(self, word: str) -> None:
        found = next(self._words, "the end")
        if found != word:
            raise ValueError(f"{word!r} is expected, {found!r} is found")


_MESSAGE, _ENUM = 11, 14
"""FieldDescriptorProto.TYPE_MESSAGE, TYPE_ENUM."""


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            raise ValueError(f"{text[at : at + 20]!r} is not understood")
        at = match.end()
        if match[1] is not None:
            yield match[1][1:-1]
        elif match[2] is not None:
            yield match[2]
