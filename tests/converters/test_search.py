"""The search: what is tried, what is timed, what is given back to float, what is chosen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.candidates import Candidate
from converters.choose import Tried, choose, pareto
from converters.mixed import fewest_float
from converters.sensitivity import LayerNoise
from converters.shortlist import MOST, shortlist
from converters.timing import Latency, Ratio


def tried(scheme: str, *, macs: int = 100, speed: float | None = 1.0, size: int = 100, drop: float = 0.0, passed: bool = True) -> Tried:
    evaluation: Any = SimpleNamespace(drop=drop, sqnr_db=40.0)
    judgement: Any = SimpleNamespace(passed=passed)
    latency = None if speed is None else Latency(speed, speed)
    ratio = None if speed is None else Ratio(speed, speed * 0.99, speed * 1.01)
    proof: Any = None
    return Tried(Candidate(scheme, b"x" * size), proof, evaluation, judgement, latency, ratio, macs)


@given(n=st.integers(1, 60), need=st.integers(0, 60))
def test_the_fewest_layers_are_found_with_few_proofs(n: int, need: int) -> None:
    ranking = [LayerNoise(f"l{i}", "Conv", float(i)) for i in range(n)]
    proofs: list[int] = []

    def passes(kept: tuple[str, ...]) -> bool:
        proofs.append(len(kept))
        return len(kept) >= need

    kept = fewest_float(ranking, passes)
    most = n // 2
    if max(need, 1) > most:
        assert kept is None
    else:
        assert kept == tuple(f"l{i}" for i in range(max(need, 1)))
    assert len(proofs) <= 2 * n.bit_length() + 2


@given(
    st.lists(st.tuples(st.sampled_from(["onnx-int8", "tflite-int8", "onnx-float32", "tflite-weights8"]), st.integers(1, 1000)), max_size=40)
)
def test_at_most_eight_are_timed_and_a_float_one_is_among_them(items: list[tuple[str, int]]) -> None:
    candidates = [Candidate(scheme, b"") for scheme, _ in items]
    chosen = shortlist(candidates, [macs for _, macs in items])
    assert len(chosen) == min(len(items), MOST)
    assert list(chosen) == sorted(set(chosen))
    if any(scheme == "onnx-float32" for scheme, _ in items):
        assert any(candidates[at].precision == "float32" for at in chosen)


def test_of_one_scheme_the_network_with_the_least_work_comes_first() -> None:
    best, why = choose([tried("a-int8", macs=100), tried("a-int8", macs=30), tried("b-int8", macs=10, speed=0.9)])
    assert best is not None
    assert (best.candidate.scheme, best.macs) == ("a-int8", 30)
    assert "comes first in the board's order" in why


def test_what_was_not_timed_is_chosen_only_where_nothing_was() -> None:
    best, _ = choose([tried("a-int8", speed=None), tried("b-int8")])
    assert best is not None
    assert best.candidate.scheme == "b-int8"
    best, why = choose([tried("a-int8", speed=None, passed=False), tried("b-int8", speed=None)])
    assert best is not None
    assert best.candidate.scheme == "b-int8"
    assert "nothing was timed" in why


points = st.tuples(st.floats(0.1, 2), st.integers(1, 50), st.floats(0, 0.1))


@given(st.lists(points, min_size=1, max_size=12))
def test_the_front_holds_what_no_other_beats(given: list[tuple[float, int, float]]) -> None:
    items = [tried("a-int8", speed=speed, size=size, drop=drop) for speed, size, drop in given]
    front = pareto(items)
    assert front
    axes = {id(item): point for item, point in zip(items, given, strict=True)}
    for item in items:
        mine = axes[id(item)]
        beaten = any(all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in axes.values())
        assert beaten == (item not in front)


@pytest.mark.parametrize(("worth", "chosen"), [(1.05, "b-int8"), (1.25, "a-int8")])
def test_the_stopwatch_counts_for_more_on_a_machine_of_the_boards_kind(worth: float, chosen: str) -> None:
    best, _ = choose([tried("a-int8", speed=1.0), tried("b-int8", speed=0.85)], worth=worth)
    assert best is not None
    assert best.candidate.scheme == chosen
