"""Which candidate is packed: the board's order, unless another is surely faster."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from converters.choose import Tried, choose
from converters.timing import Latency, Ratio


def tried(scheme: str, low: float, high: float, *, passed: bool = True) -> Tried:
    judgement = SimpleNamespace(passed=passed)
    return Tried(SimpleNamespace(scheme=scheme, label=scheme), None, None, judgement, Latency(1.0, 1.0), Ratio((low + high) / 2, low, high))


@pytest.mark.parametrize(
    ("second", "chosen"),
    [
        ((0.3, 0.39), "second"),  # 0.39 * 1.25 is under 0.5
        ((0.3, 0.41), "first"),  # perhaps faster, perhaps not by enough
        ((0.1, 0.9), "first"),  # a busy machine says nothing
    ],
)
def test_another_is_taken_only_when_it_is_surely_faster(second: tuple[float, float], chosen: str) -> None:
    best, why = choose([tried("first", 0.5, 0.6), tried("second", *second)])
    assert best is not None
    assert best.candidate.scheme == chosen
    assert chosen in why


def test_what_did_not_pass_is_not_chosen() -> None:
    best, why = choose([tried("first", 0.1, 0.1, passed=False), tried("second", 0.9, 0.9)])
    assert best is not None
    assert best.candidate.scheme == "second"
    assert "only" in why
    assert choose([tried("first", 0.1, 0.1, passed=False)]) == (None, "no candidate passed")
