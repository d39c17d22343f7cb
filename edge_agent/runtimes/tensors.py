"""What both runtimes check of the arrays they are given, so that a mistake is named before native code sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.errors import ModelError
from edge_agent.values import TensorSpec


class TensorCheck:
    """Compares arrays with tensor specs; call it with arrays by name."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._specs = specs

    def __call__(self, arrays: Mapping[str, Any]) -> None:
        """Raises :class:`ModelError` naming the tensor, what was expected and what came."""
        for spec in self._specs:
            array = arrays.get(spec.name)
            if array is None:
                raise ModelError(f"input {spec.name}: missing, got {', '.join(arrays) or 'nothing'}")
            dtype, shape = getattr(array, "dtype", None), getattr(array, "shape", None)
            if dtype != spec.dtype or shape is None or not fits(shape, spec.shape):
                raise ModelError(f"input {spec.name}: expected {spec.dtype} {_text(spec.shape)}, got {dtype} {_text(shape or ())}")
        if len(arrays) > len(self._specs):
            extra = sorted(set(arrays) - {spec.name for spec in self._specs})
            raise ModelError(f"input {extra[0]}: the model has no such input; it has {', '.join(s.name for s in self._specs)}")


def bindable(arrays: Mapping[str, Any], specs: tuple[TensorSpec, ...]) -> bool:
    """Whether ``arrays`` are exactly the tensors of ``specs``, in memory that native code can use as it lies."""
    by_name = {spec.name: spec for spec in specs}
    if set(arrays) != set(by_name):
        return False
    return all(
        array.dtype == by_name[name].dtype and fits(array.shape, by_name[name].shape) and array.flags.c_contiguous and array.flags.writeable
        for name, array in arrays.items()
    )


def fits(shape: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether ``shape`` is ``wanted`` with its free dimensions filled in."""
    if shape == wanted:
        return True
    return len(shape) == len(wanted) and all(want is None or size == want for size, want in zip(shape, wanted, strict=True))


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first line of a native library's message, at most ``limit`` characters, for people to read."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:limit] if lines else type(error).__name__


def _text(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
