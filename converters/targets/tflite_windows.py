"""Padding of convolutions and pools: ONNX gives numbers, TensorFlow Lite two words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.errors import UnsupportedOp

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Windows:
    """Sliding windows over two axes. ``padding`` is the word that says the same as ``before`` and ``after``, empty when there is none.

    ``after`` reaches as far as the last window does, which with ceil_mode is further than the padding that was ``declared``.
    """

    kernel: Pair
    strides: Pair
    dilations: Pair
    before: Pair
    after: Pair
    declared: Pair
    padding: str


def windows(what: str, options: Mapping[str, Any], kernel: Sequence[int], size_in: Sequence[int], size_out: Sequence[int]) -> Windows:
    """Understands strides, dilations, pads, auto_pad of an ONNX node whose input and output have these two spatial sizes."""
    if len(kernel) != 2:
        raise UnsupportedOp(f"{what} slides over {len(kernel)} axes; for TensorFlow Lite only 2 are written; try --target onnx")
    strides = _pair(options.get("strides", (1, 1)))
    dilations = _pair(options.get("dilations", (1, 1)))
    reach = [(o - 1) * s + (k - 1) * d + 1 - i for i, o, k, s, d in zip(size_in, size_out, kernel, strides, dilations, strict=True)]
    totals = [max(missing, 0) for missing in reach]
    pads = _pads(options, totals)
    before, declared = _pair(pads[:2]), _pair(pads[2:])
    after = _pair([max(d, missing - b) for d, missing, b in zip(declared, reach, before, strict=True)])
    return Windows(_pair(kernel), strides, dilations, before, after, declared, _word(before, after, totals, size_in, size_out, strides))


def _pads(options: Mapping[str, Any], totals: Sequence[int]) -> list[int]:
    """Padding before both axes, then after them."""
    automatic = bytes(options.get("auto_pad", b"NOTSET")).decode()
    if automatic == "SAME_UPPER":
        return [t // 2 for t in totals] + [t - t // 2 for t in totals]
    if automatic == "SAME_LOWER":
        return [t - t // 2 for t in totals] + [t // 2 for t in totals]
    return [0, 0, 0, 0] if automatic == "VALID" else list(options.get("pads", (0, 0, 0, 0)))


def _word(before: Pair, after: Pair, totals: Sequence[int], size_in: Sequence[int], size_out: Sequence[int], strides: Pair) -> str:
    if not any(before) and not any(after):
        return "VALID"
    # SAME: ceil(in / stride) windows, half of the missing values in front, rounded down. More padding behind than is read is harmless.
    same = all(
        o == -(-i // s) and b == t // 2 and a >= t - t // 2
        for i, o, s, t, b, a in zip(size_in, size_out, strides, totals, before, after, strict=True)
    )
    return "SAME" if same else ""


def _pair(values: Sequence[int]) -> Pair:
    return int(values[0]), int(values[1])
