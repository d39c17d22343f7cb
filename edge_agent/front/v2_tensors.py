"""Tensors of the Open Inference Protocol: JSON lists to bytes and back, with every mistake named."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from edge_agent.front.datatypes import NOT_NUMBERS, V2_OF
from edge_agent.front.http_head import HttpError
from edge_agent.inference.layout import Place
from edge_agent.runtimes.tensors import fits
from edge_agent.values import DTYPES

MOST_DIMENSIONS = 8
MOST_SIZE = 1 << 40
MOST_JSON_VALUES = 4 << 20
"""In one output as JSON: a second of processor time and 150 MB, and everybody else waits that long."""


def checked_shape(name: str, shape: Any, wanted: tuple[int | None, ...]) -> tuple[int, ...]:
    """``shape`` as the client says it. Raises HttpError 400 unless it is ``wanted`` with its free dimensions filled in."""
    whole = isinstance(shape, list) and all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape)
    if not whole:
        raise HttpError(400, f"input {name}: shape must be a list of whole numbers, 0 or more")
    if any(size >= MOST_SIZE for size in shape):
        raise HttpError(400, f"input {name}: shape {shape} is larger than any tensor")
    given = tuple(shape)
    if not fits(given, wanted):
        raise HttpError(400, f"input {name}: has shape {shape}, the model takes {shape_text(wanted)}")
    return given


def check_datatype(name: str, datatype: Any, dtype: str) -> None:
    """Raises HttpError 400 unless ``datatype`` is the model's."""
    if datatype == V2_OF[dtype]:
        return
    if datatype in NOT_NUMBERS:
        raise HttpError(400, f"input {name}: {datatype} is not taken, the model works on numbers: {V2_OF[dtype]}")
    raise HttpError(400, f"input {name}: has datatype {str(datatype)[:40]}, the model takes {V2_OF[dtype]}")


def check_size(place: Place, shape: tuple[int, ...], size: int) -> None:
    """Raises HttpError 400 unless ``size`` bytes are a tensor of ``shape``, and it has room in a link."""
    needed = prod(shape) * DTYPES[place.dtype]
    if size != needed:
        raise HttpError(400, f"input {place.name}: has {size} bytes, its shape {list(shape)} of {V2_OF[place.dtype]} needs {needed}")
    if size > place.capacity_bytes:
        raise HttpError(400, f"input {place.name}: has {size} bytes, at most {place.capacity_bytes} are taken")


def packed(place: Place, data: Any, shape: tuple[int, ...]) -> bytes:
    """The bytes of JSON ``data``, flat or nested. Raises HttpError 400 naming what does not fit."""
    if not isinstance(data, list):
        data = [data]
    array = _array(place, data)
    if array.ndim > 1 and array.shape != shape:
        raise HttpError(400, f"input {place.name}: data is nested as {list(array.shape)}, its shape says {list(shape)}")
    if array.size != prod(shape):
        raise HttpError(400, f"input {place.name}: data has {array.size} values, its shape {list(shape)} needs {prod(shape)}")
    return bytes(_cast(place, array).tobytes())


def _array(place: Place, data: list[Any]) -> Any:
    try:
        array = np.asarray(data)
    except (ValueError, OverflowError):
        raise HttpError(400, f"input {place.name}: data must be numbers, flat or nested to one shape") from None
    kind = np.dtype(place.dtype).kind
    if (array.dtype == object and kind in "iuf") or (array.dtype.kind == "f" and kind in "iu"):
        return _exact(place, data)
    return array


def _exact(place: Place, data: list[Any]) -> Any:
    """Numbers for which numpy finds no one type, or takes a fraction where large whole numbers are meant, one by one."""
    wanted = np.dtype(place.dtype)
    numbers = np.asarray(data, object)
    kinds = (int,) if wanted.kind in "iu" else (int, float)
    if not all(type(value) in kinds for value in numbers.flat):
        raise HttpError(400, f"input {place.name}: data holds something that is not {V2_OF[place.dtype]}")
    try:
        return numbers.astype(np.float64 if wanted.kind == "f" else wanted)
    except OverflowError:
        raise HttpError(400, f"input {place.name}: data holds a number too large for {V2_OF[place.dtype]}") from None


def _cast(place: Place, array: Any) -> Any:
    wanted = np.dtype(place.dtype)
    kind, given = wanted.kind, array.dtype.kind
    if array.size == 0:
        return array.astype(wanted)
    if kind == "f" and given in "iuf":
        with np.errstate(over="ignore"):
            return array.astype(wanted)
    if kind in "iu" and given in "iu":
        limits = np.iinfo(wanted)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise HttpError(400, f"input {place.name}: data is outside {limits.min} to {limits.max}, the range of {V2_OF[place.dtype]}")
        return array.astype(wanted)
    if kind == "b" and (given == "b" or (given in "iu" and bool(np.isin(array, (0, 1)).all()))):
        return array.astype(wanted)
    raise HttpError(400, f"input {place.name}: data holds {_WORDS.get(given, 'values of several kinds')}, {V2_OF[place.dtype]} is needed")


_WORDS = {"f": "fractions", "b": "truth values", "U": "text", "i": "whole numbers", "u": "whole numbers"}


def array_of(place: Place, value: Any, shape: Sequence[int]) -> Any:
    """An output's bytes as an array."""
    return np.frombuffer(value, np.dtype(place.dtype)).reshape(tuple(shape))


def listed(place: Place, value: Any, *, flat: bool = True, shape: Sequence[int] = ()) -> Any:
    """An output's bytes as JSON-ready numbers. Raises HttpError 400 for too many."""
    check_count(place.name, len(value) // DTYPES[place.dtype])
    array = np.frombuffer(value, np.dtype(place.dtype))
    return array.tolist() if flat else array.reshape(tuple(shape)).tolist()


def check_count(name: str, count: int) -> None:
    """Raises HttpError 400 unless ``count`` values of an output are few enough for JSON."""
    if count > MOST_JSON_VALUES:
        text = f"output {name}: has {count} values, at most {MOST_JSON_VALUES} are written as JSON; ask /v2 for binary_data"
        raise HttpError(400, text)


def shape_text(shape: tuple[int | None, ...]) -> str:
    """A model's shape as the protocol writes it: -1 for a free dimension."""
    return str(v2_shape(shape))


def v2_shape(shape: tuple[int | None, ...]) -> list[int]:
    return [-1 if size is None else size for size in shape]
