"""The model files a build may choose from: which schemes are tried, and what each of them emits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from converters.errors import InputError, UnsupportedOp
from converters.goal import Goal
from converters.model import Graph, Source
from converters.recipe import Recipe
from converters.targets.onnx_float import emit_onnx_float
from converters.targets.onnx_qdq import emit_onnx_int8, emit_onnx_int16x8
from converters.targets.onnx_storage import emit_onnx_float16, emit_onnx_weights8
from converters.targets.tflite_float import emit_tflite_float, emit_tflite_float16, emit_tflite_weights8
from converters.targets.tflite_int8 import emit_tflite_int8, emit_tflite_int8_io
from converters.targets.tflite_int16 import emit_tflite_int16x8
from converters.targets.versions import ONNX_WIDE_PAIRS, onnx_minimum, stricter
from converters.variants import Variant

_FLOAT: Mapping[str, Callable[[Graph], bytes]] = MappingProxyType(
    {
        "onnx-weights8": emit_onnx_weights8,
        "onnx-float16": emit_onnx_float16,
        "onnx-float32": emit_onnx_float,
        "tflite-weights8": emit_tflite_weights8,
        "tflite-float16": emit_tflite_float16,
        "tflite-float32": emit_tflite_float,
    }
)
_INTEGER: Mapping[str, Callable[..., bytes]] = MappingProxyType(
    {
        "onnx-int8": emit_onnx_int8,
        "onnx-int16x8": emit_onnx_int16x8,
        "tflite-int8": emit_tflite_int8,
        "tflite-int8-io": emit_tflite_int8_io,
        "tflite-int16x8": emit_tflite_int16x8,
    }
)
WRITABLE = (*_INTEGER, *_FLOAT)
BY_NAME = ("int8-io", "int16x8")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model file under the name of its scheme. ``minimum`` is the runtime version its operators need; ``variant`` names the network it
    was written from (empty: the model itself), ``kept_float`` the nodes that an integer scheme was made to leave in float."""

    scheme: str
    data: bytes
    minimum: str = ""
    variant: str = ""
    kept_float: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How people and files call it."""
        count = len(self.kept_float)
        mixed = f"{count} layer{'s' * (count > 1)} float" if count else ""
        return ", ".join(filter(None, (self.scheme, self.variant, mixed)))

    @property
    def runtime(self) -> str:
        return self.scheme.partition("-")[0]

    @property
    def precision(self) -> str:
        return self.scheme.partition("-")[2]


@dataclass(frozen=True, slots=True)
class NotMade:
    """A scheme that gave no candidate, and why."""

    scheme: str
    reason: str
    variant: str = ""


def schemes_to_try(source: Source, goal: Goal, recipe: Recipe) -> tuple[str, ...]:
    """Schemes in the board's order that the options leave; those of :data:`BY_NAME`, which no board prefers, where they are asked for.
    Raises :class:`InputError` when none is left."""
    if recipe.scheme == "as-is" or source.graph is None:
        return (_as_is(source, goal, recipe),)
    allowed = [
        scheme
        for scheme in (*goal.schemes, *(f"{runtime}-{recipe.scheme}" for runtime in goal.runtimes if recipe.scheme in BY_NAME))
        if scheme in WRITABLE
        and recipe.target in ("auto", scheme.partition("-")[0])
        and recipe.scheme in ("auto", scheme.partition("-")[2])
    ]
    if not allowed:
        raise InputError(
            f"target {recipe.target}, scheme {recipe.scheme}: {', '.join(goal.profiles)} allows only {', '.join(goal.schemes)}"
        )
    return tuple(allowed)


def emit(scheme: str, source: Source, variant: Variant | None, kept_float: tuple[str, ...] = ()) -> Candidate | NotMade:
    """The candidate of ``scheme`` written from ``variant``, or why its target refuses the network. ``kept_float`` are nodes (by first
    output) that an integer scheme must leave in float."""
    if variant is None:
        return Candidate(scheme, source.data, onnx_minimum(source.graph.opset) if source.graph and source.format == "onnx" else "")
    try:
        data = _write(scheme, variant, frozenset(kept_float))
    except UnsupportedOp as error:
        return NotMade(scheme, str(error), variant.name)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # sizes and attributes no real network has
        said = f"the network cannot be written ({type(error).__name__}: {str(error)[:200]}); try another --target"
        return NotMade(scheme, said, variant.name)
    minimum = onnx_minimum(variant.graph.opset) if scheme.startswith("onnx-") else ""
    if scheme == "onnx-int16x8":
        minimum = stricter(minimum, ONNX_WIDE_PAIRS)
    return Candidate(scheme, data, minimum, variant.name, kept_float)


def _write(scheme: str, variant: Variant, kept_float: frozenset[str]) -> bytes:
    integer = _INTEGER.get(scheme)
    if integer is None:
        return _FLOAT[scheme](variant.graph)
    assert variant.calibration is not None
    return integer(variant.for_integers(kept_float), variant.calibration.ranges, keep_float=kept_float)


def as_it_is(source: Source, goal: Goal, recipe: Recipe) -> str:
    """The scheme that packs the file unchanged where the options leave the choice and the boards run it; else empty."""
    open_choice = recipe.scheme == "auto" and recipe.target in ("auto", source.format)
    return f"{source.format}-as-is" if open_choice and source.format in goal.runtimes and source.graph is not None else ""


def _as_is(source: Source, goal: Goal, recipe: Recipe) -> str:
    if recipe.scheme not in ("auto", "as-is"):
        why = "; ".join(source.notes) or "its network is not read here"
        raise InputError(f"{source.path}: can only be packed as it is ({why}); scheme {recipe.scheme} needs the file it was made from")
    if recipe.target not in ("auto", source.format):
        raise InputError(f"{source.path}: target {recipe.target}: a {source.format} file packed as it is stays {source.format}")
    if source.format not in goal.runtimes:
        raise InputError(f"{source.path}: {', '.join(goal.profiles)} runs {', '.join(goal.runtimes)}, not {source.format}")
    return f"{source.format}-as-is"
