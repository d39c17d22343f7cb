from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inference.crashes import LONGEST_DELAY_S, CrashRecord


def test_below_the_limit_it_starts_again_at_once() -> None:
    record = CrashRecord(limit=3, window_s=100)
    assert [record.died(t).delay_s for t in (0, 1)] == [0, 0]


def test_the_limit_makes_it_a_loop_once_and_restarts_slow_down() -> None:
    record = CrashRecord(limit=3, window_s=100)
    restarts = [record.died(t) for t in range(12)]
    assert [r.looping for r in restarts] == [False, False, True] + [False] * 9
    delays = [r.delay_s for r in restarts[2:]]
    assert delays == sorted(delays) and delays[0] > 0 and delays[-1] == LONGEST_DELAY_S


def test_deaths_far_apart_are_no_loop() -> None:
    record = CrashRecord(limit=2, window_s=10)
    assert not any(record.died(t * 11).looping for t in range(20))


@given(st.integers(0, 10), st.floats(1, 1000), st.lists(st.floats(0, 100), max_size=50))
def test_delays_are_bounded_and_a_loop_is_told_at_most_once(limit: int, window_s: float, gaps: list[float]) -> None:
    record, now_s, told = CrashRecord(limit, window_s), 0.0, 0
    for gap in gaps:
        now_s += gap
        restart = record.died(now_s)
        assert 0 <= restart.delay_s <= LONGEST_DELAY_S
        told += restart.looping
    assert told <= 1
