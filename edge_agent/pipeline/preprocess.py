"""Windows to model inputs, as the manifest's ``preprocess`` steps say. The converter calibrates through this same code.

Frames of bytes stay bytes until a step calculates with them; everything else is float32. After the last step each input gets the shape
and dtype its TensorSpec declares: quantized as round(x / scale) + zero_point where the spec has them, rounded for other integers, both
clipped to the dtype's range. docs/steps.md lists the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline import steps_image, steps_shape, steps_signal, steps_values
from edge_agent.pipeline.arguments import Arguments
from edge_agent.pipeline.finish import placer, settler
from edge_agent.pipeline.stage import ALIKE, MOVES, PICTURE, PlacedStage, Stage
from edge_agent.values import TensorSpec

_NARROW = "fbBhH"
"""Element types (numpy's letters) whose every value float32 holds, float32 first: they may go on as they are."""


class Preprocess(Protocol):
    """Takes window values (length, channels), or a frame (height, width, colours), and gives the model's input arrays by name."""

    def __call__(self, values: Any, out: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """With ``out``, arrays by name in declared dtype and shape, the values are written there and these very arrays returned."""


def compile_preprocess(steps: tuple[Step, ...], inputs: tuple[TensorSpec, ...]) -> Preprocess:
    """A function from window values to the model's input arrays by name, C-contiguous, in declared dtype and shape.

    The free dimension of an input becomes 1. Every step applies to every input unless its ``input`` argument names one. Without ``out``
    the result may share memory with the window. Raises :class:`BundleError` now for a wrong step, naming index and key; the
    function raises :class:`ModelError` when a window does not have the shape the steps and the model need.
    """
    chains: dict[str, list[PlacedStage]] = {spec.name: [] for spec in inputs}
    raw: set[str] = set()
    for index, step in enumerate(steps):
        _add(chains, raw, step, f"preprocess[{index}]")
    plans = [(spec.name, _compiled(spec, chains[spec.name], raw=spec.name in raw)) for spec in inputs]

    def preprocess(values: Any, out: Mapping[str, Any] | None = None) -> dict[str, Any]:
        array = np.asarray(values)
        if not array.ndim:
            array = array.reshape(1)
        if array.dtype.char not in _NARROW:
            array = _real(array)
        return {name: run(array, None if out is None else _target(out, name)) for name, run in plans}

    return preprocess


def _target(out: Mapping[str, Any], name: str) -> Any:
    if name not in out:
        raise ModelError(f"input {name}: there is no array to write it into")
    return out[name]


def _add(chains: dict[str, list[PlacedStage]], raw: set[str], step: Step, where: str) -> None:
    make = _OPS.get(step.op)
    if make is None:
        raise BundleError(f"{where}.op: {step.op!r} is not one of {', '.join(sorted(_OPS))}")
    args = Arguments(step, where)
    targets = [args.text("input")] if args.has("input") else list(chains)
    if targets[0] not in chains:
        raise args.bad("input", f"{targets[0]!r} is not an input of the model; it has {', '.join(chains)}")
    stage = make(args)
    args.done()
    for target in targets:
        chains[target].append(PlacedStage(f"{where} ({step.op})", stage))
    if step.op == "raw":
        raw.update(targets)


def _compiled(spec: TensorSpec, chain: list[PlacedStage], *, raw: bool) -> Callable[[Any, Any], Any]:
    """Everything that happens for one input: (window values, where it belongs or ``None``) to its array."""
    place, settle, through = placer(spec), settler(spec, raw=raw), _chained(chain)
    look_up = _look_up(spec, chain, raw=raw)
    calculates = any(placed.stage.kind != MOVES for placed in chain) or spec.dtype not in ("float32", "float64")

    def run(array: Any, out: Any) -> Any:
        if look_up is not None and array.dtype == np.uint8:
            codes = look_up(array)
            if codes is not None:
                return place(codes, out)
        if not calculates:
            return place(settle(through(array)), out)
        with np.errstate(all="ignore"):  # infinities and NaN are the sensor's business, not worth a warning a window
            return place(settle(through(array)), out)

    return run


def _chained(chain: list[PlacedStage]) -> Callable[[Any], Any]:
    def through(array: Any) -> Any:
        for placed in chain:
            try:
                array = placed.stage.run(array)
            except (ValueError, IndexError) as error:
                raise ModelError(f"{placed.where}: does not fit an array of shape {array.shape} ({error})") from None
        return array

    return through


def _look_up(spec: TensorSpec, chain: list[PlacedStage], *, raw: bool) -> Callable[[Any], Any] | None:
    """For frames of bytes into an input of one byte an element, when every calculating step does the same to every value: then there
    are but 256 answers, made once by those very steps, and a window costs one look-up a value. ``None`` where that cannot be; the
    function gives ``None`` where a step before had to leave bytes."""
    first = next((at for at, placed in enumerate(chain) if placed.stage.kind not in (MOVES, PICTURE)), len(chain))
    dtype = np.dtype(spec.dtype)
    if dtype.itemsize != 1 or any(placed.stage.kind not in (ALIKE, MOVES) for placed in chain[first:]):
        return None
    with np.errstate(all="ignore"):
        every = _chained([placed for placed in chain if placed.stage.kind == ALIKE])(np.arange(256, dtype=np.uint8))
        table = settler(spec, raw=raw)(every).astype(dtype).tobytes()
    move = _chained([placed for placed in chain if placed.stage.kind != ALIKE])
    same = table == bytes(range(256))

    def look_up(array: Any) -> Any:
        moved = move(array)
        if moved.dtype != np.uint8:
            return None
        codes = moved if same else np.frombuffer(moved.tobytes().translate(table), np.uint8).reshape(moved.shape)
        return codes.view(dtype)

    return look_up


_OPS: Mapping[str, Callable[[Arguments], Stage]] = {
    "scale": steps_values.scale,
    "normalize": steps_values.normalize,
    "clip": steps_values.clip,
    "standardise": steps_values.standardise,
    "standardize": steps_values.standardise,
    "one_hot": steps_values.one_hot,
    "constant": steps_values.constant,
    "reshape": steps_shape.reshape,
    "transpose": steps_shape.transpose,
    "pad": steps_shape.pad,
    "select": steps_shape.select,
    "resize": steps_image.resize,
    "crop": steps_image.crop,
    "colour": steps_image.colour,
    "fft": steps_signal.fft,
    "log_mel": steps_signal.log_mel,
    "mfcc": steps_signal.mfcc,
    "raw": steps_shape.none,
    "none": steps_shape.none,
}

PREPROCESS_OPS = tuple(_OPS)
"""The words a manifest may use."""

PICTURE_OPS = ("resize", "crop", "colour")
"""Those that take pictures only."""


def _real(array: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(array, np.float32)
