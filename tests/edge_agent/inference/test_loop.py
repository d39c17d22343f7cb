from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeError
from edge_agent.inference.loop import Loop


@pytest.fixture
def errors() -> list[BaseException]:
    return []


@pytest.fixture
def loop(errors: list[BaseException]) -> Iterator[Loop]:
    loop = Loop(SystemClock(), errors.append)
    loop.start()
    yield loop
    loop.stop()


def test_a_call_runs_on_the_loops_thread_and_gives_its_result(loop: Loop) -> None:
    assert loop.call(threading.current_thread) is not threading.current_thread()


def test_a_calls_error_is_the_callers(loop: Loop, errors: list[BaseException]) -> None:
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 // 0)
    assert not errors


def test_a_callback_that_raises_is_told_and_the_loop_goes_on(loop: Loop, errors: list[BaseException]) -> None:
    loop.post(lambda: [].pop())
    assert loop.call(lambda: 3) == 3
    assert [type(error) for error in errors] == [IndexError]


def test_calling_from_the_loops_own_thread_is_refused_instead_of_waiting_for_ever(loop: Loop) -> None:
    with pytest.raises(EdgeError, match="own callbacks"):
        loop.call(lambda: loop.call(lambda: 1))


def test_timers_fire_in_order_and_can_be_cancelled(loop: Loop) -> None:
    fired: list[str] = []

    def arm() -> None:
        loop.later(0.02, lambda: fired.append("second"))
        loop.later(0.0, lambda: fired.append("first"))
        loop.later(0.01, lambda: fired.append("never")).cancel()

    loop.call(arm)
    wait_for(lambda: len(fired) == 2)
    assert fired == ["first", "second"]


def test_a_descriptor_is_watched_until_it_is_unwatched(loop: Loop) -> None:
    read, write = os.pipe()
    heard: list[bytes] = []

    def hear() -> None:
        heard.append(os.read(read, 1))
        loop.unwatch(read)

    loop.call(lambda: loop.watch(read, hear))
    os.write(write, b"ab")
    wait_for(lambda: heard)
    assert loop.call(lambda: heard) == [b"a"]
    os.close(read)
    os.close(write)


def test_after_stop_a_call_says_so() -> None:
    loop = Loop(SystemClock(), lambda error: None)
    loop.start()
    loop.stop()
    loop.post(lambda: None)
    with pytest.raises(EdgeError, match="not running"):
        loop.call(lambda: None)


def test_a_descriptor_unwatched_by_an_earlier_callback_of_the_same_round_is_not_served(loop: Loop) -> None:
    pipes = [os.pipe(), os.pipe()]
    heard: list[int] = []

    def hear(own: int) -> None:
        heard.append(own)
        for read, _ in pipes:
            loop.unwatch(read)

    def arm() -> None:
        for number, (read, write) in enumerate(pipes):
            os.write(write, b"x")
            loop.watch(read, lambda number=number: hear(number))  # type: ignore[misc]

    loop.call(arm)
    wait_for(lambda: heard)
    assert len(loop.call(lambda: heard)) == 1
    for fd in (*pipes[0], *pipes[1]):
        os.close(fd)
