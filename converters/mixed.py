"""Mixed precision: an integer candidate that the gate refuses gets its noisiest layers back in float, no more than it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from converters.sensitivity import LayerNoise

MOST_SHARE = 0.5
"""Of the layers; beyond it there is little left that integers would make faster."""


def fewest_float(ranking: Sequence[LayerNoise], passes: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...] | None:
    """The shortest head of ``ranking`` whose layers in float satisfy ``passes``, taken to be monotone; ``None`` when no half of them does.

    Doubling finds a head that passes, halving the shortest: about 2 log2(n) proofs for n layers.
    """
    names = [noise.layer for noise in ranking]
    most = int(len(names) * MOST_SHARE)
    low, high = 0, 1
    while high <= most and not passes(tuple(names[:high])):
        low, high = high, high * 2
    if high > most:
        if low >= most or not passes(tuple(names[:most])):
            return None
        high = most
    while high - low > 1:
        middle = (low + high) // 2
        if passes(tuple(names[:middle])):
            high = middle
        else:
            low = middle
    return tuple(names[:high])
