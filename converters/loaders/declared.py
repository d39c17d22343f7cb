"""Inputs that the user declares because the file does not: ``name:dtype[sizes]``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from converters.errors import InputError
from edge_agent.values import DTYPES, TensorSpec

_FORM = re.compile(r"(?P<name>[^:\[\]]+):(?P<dtype>[a-z0-9]+)\[(?P<sizes>[^\[\]]*)\]")
_FREE = ("", "?", "batch", "none", "n")
MAX_SIZE = 1 << 31


def declared(inputs: Sequence[str]) -> tuple[TensorSpec, ...]:
    """One tensor for each text; a size that is left free is ``None``. Raises :class:`InputError` naming the text."""
    return tuple(_one(text) for text in inputs)


def _one(text: str) -> TensorSpec:
    found = _FORM.fullmatch(text.replace(" ", ""))
    if found is None:
        raise InputError(f"--input {text}: write it as name:dtype[sizes], such as image:float32[1,3,224,224]")
    if found["dtype"] not in DTYPES:
        raise InputError(f"--input {text}: {found['dtype']} is no type a device can feed; choose {', '.join(DTYPES)}")
    words = found["sizes"].split(",") if found["sizes"] else []
    return TensorSpec(found["name"], found["dtype"], tuple(_size(word, text) for word in words))


def _size(word: str, text: str) -> int | None:
    if word.lower() in _FREE:
        return None
    if not word.isdecimal() or not 0 < int(word) < MAX_SIZE:
        raise InputError(f"--input {text}: {word} is no size; give a whole number, or ? where it is free")
    return int(word)
