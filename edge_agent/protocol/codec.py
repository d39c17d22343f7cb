"""Messages to bytes and back: compact JSON (RFC 8259, UTF-8), read strictly by the types of the dataclass fields.

Reading refuses, naming the key: more than 1 MiB, anything that is not JSON, a ``v`` this version does not know, a missing or wrongly
typed key, numbers that are not finite or do not fit 64 bits, text that is not Unicode, nesting deeper than 32. Unknown keys are ignored.
Writing refuses what reading would refuse, so a message that leaves can be read by the other side.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar, Union

from edge_agent.errors import CommandError
from edge_agent.protocol.messages import VERSION

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
_INT64 = 1 << 63

T = TypeVar("T")
_Reader = Callable[[Any, str], Any]


def encode(message: Any) -> bytes:
    """``message`` as JSON bytes. Raises :class:`CommandError` naming the key that cannot be written."""
    tree = _plain(message, "", 0)
    payload = json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    if len(payload) > MAX_BYTES:
        raise CommandError(f"{type(message).__name__}: {len(payload)} bytes are more than the {MAX_BYTES} a reader accepts")
    return payload


def decode(cls: type[T], payload: bytes) -> T:
    """The message of type ``cls`` in ``payload``. Raises :class:`CommandError` naming the first key that is wrong."""
    tree = load_object(payload)
    version = tree.get("v")
    if version != VERSION or isinstance(version, (bool, float)):
        found = "is missing" if "v" not in tree else f"is {str(version)[:40]}"
        raise CommandError(f"v: {found}; this version reads messages with v {VERSION}")
    message: T = _read_object(cls, tree, "")
    return message


def load_object(payload: bytes) -> dict[str, Any]:
    """The JSON object in ``payload``, types not yet checked. Raises :class:`CommandError`."""
    if len(payload) > MAX_BYTES:
        raise CommandError(f"message: {len(payload)} bytes are more than {MAX_BYTES}")
    try:
        tree = json.loads(bytes(payload).decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"message: not JSON ({str(error)[:120]})") from None
    if not isinstance(tree, dict):
        raise CommandError(f"message: must be a JSON object, is {_kind(tree)}")
    return tree


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


def _kind(value: Any) -> str:
    words: Mapping[type, str] = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else words.get(type(value), type(value).__name__)


def _join(where: str, key: str) -> str:
    return f"{where}.{key[:80]}" if where else key[:80]


# Writing


def _plain(value: Any, where: str, depth: int) -> Any:
    """``value`` as what ``json`` writes, checked by the same rules as reading."""
    if depth > MAX_DEPTH:
        raise CommandError(f"{where}: nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, int, float)):
        return _scalar(value, where)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise CommandError(f"{where}: has a key that is not text: {str(key)[:40]!r}")
        return {_scalar(key, where): _plain(item, _join(where, key), depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), _join(where, f.name), depth + 1) for f in fields(value)}
    raise CommandError(f"{where}: {type(value).__name__} has no place in a message")


def _scalar(value: Any, where: str) -> Any:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise CommandError(f"{where}: text that is not Unicode (a lone surrogate)") from None
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise CommandError(f"{where}: {value} is not a finite number")
    elif not -_INT64 <= value < _INT64:
        raise CommandError(f"{where}: a whole number that does not fit 64 bits")
    return value


# Reading


def _read_object(cls: type[Any], tree: Any, where: str) -> Any:
    if not isinstance(tree, dict):
        raise CommandError(f"{where}: must be an object, is {_kind(tree)}")
    values = {}
    for name, required, read in _plan(typing.cast("Hashable", cls)):
        if name in tree:
            values[name] = read(tree[name], _join(where, name))
        elif required:
            raise CommandError(f"{_join(where, name)}: is missing")
    return cls(**values)


@lru_cache(maxsize=64)
def _plan(cls: Hashable) -> tuple[tuple[str, bool, _Reader], ...]:
    """For every field of ``cls``: its name, whether it must be there, and what reads it."""
    message = typing.cast("type[Any]", cls)
    hints = typing.get_type_hints(message)
    return tuple((f.name, _required(f), _reader(hints[f.name])) for f in fields(message))


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _reader(hint: Any) -> _Reader:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if hint is Any:
        return _read_any
    if origin in (Union, types.UnionType):
        (inner,) = (a for a in arguments if a is not type(None))
        return _optional(_reader(inner))
    if origin is tuple:
        return _items(_reader(arguments[0]))
    if origin is not None:
        return _mapping(_reader(arguments[1]))
    if is_dataclass(hint):
        cls = typing.cast("type[Any]", hint)
        return lambda value, where: _read_object(cls, value, where)
    return {str: _read_text, int: _read_whole, float: _read_number, bool: _read_flag}[hint]


def _optional(inner: _Reader) -> _Reader:
    return lambda value, where: None if value is None else inner(value, where)


def _items(inner: _Reader) -> _Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise CommandError(f"{where}: must be a list, is {_kind(value)}")
        return tuple(inner(item, f"{where}[{i}]") for i, item in enumerate(value))

    return read


def _mapping(inner: _Reader) -> _Reader:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise CommandError(f"{where}: must be an object, is {_kind(value)}")
        return {_scalar(key, where): inner(item, _join(where, key)) for key, item in value.items()}

    return read


def _read_any(value: Any, where: str) -> Any:
    return _plain(value, where, 0)


def _read_text(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        raise CommandError(f"{where}: must be text, is {_kind(value)}")
    return _scalar(value, where)


def _read_whole(value: Any, where: str) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        raise CommandError(f"{where}: must be a whole number, is {_kind(value)}")
    return _scalar(value, where)


def _read_number(value: Any, where: str) -> Any:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise CommandError(f"{where}: must be a number, is {_kind(value)}")
    return float(_scalar(value, where))


def _read_flag(value: Any, where: str) -> Any:
    if not isinstance(value, bool):
        raise CommandError(f"{where}: must be true or false, is {_kind(value)}")
    return value
