"""Handing an array to another process and an answer back: our link beside multiprocessing's Pipe and Queue, in the same run.

The other process answers with one number of the array, so what is timed is the handover alone. ``link, in place`` is a frame that its
source wrote straight into the shared memory; ``bare call`` is the same question asked within this process. Rounds take turns, so that a
machine that is busy for a while is busy for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from edge_agent.clock import SystemClock
from edge_agent.inference.doorbell import LinkFds, create_link
from edge_agent.inference.layout import LinkLayout, layout_of
from edge_agent.inference.link import AnsweringEnd, AskingEnd
from edge_agent.values import TensorSpec

SIZES = {"4 KB": (1024,), "110 KB": (27_648,), "1080p frame": (1080, 1920, 3)}
ROUNDS = 12
REPEATS = {"4 KB": 100, "110 KB": 60, "1080p frame": 6}
Exchange = Callable[[Any], Any]


def handover() -> dict[str, object]:
    """Microseconds there and back by size and way: median, 99th percentile, median over the bare call's; and how many times our link's
    median each way takes."""
    return {size: _compare(size, shape) for size, shape in SIZES.items()}


def _compare(size: str, shape: tuple[int, ...]) -> dict[str, dict[str, float]]:
    array = np.ones(shape, np.uint8 if len(shape) == 3 else np.float32)
    with _link(array) as link, _pipe() as pipe, _queue() as queue:
        ways: dict[str, Exchange] = {
            "bare call": _first,
            "link": link.copied,
            "link, in place": link.in_place,
            "mp.Pipe": pipe,
            "mp.Queue": queue,
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for exchange in ways.values():
            for _ in range(5):
                exchange(array)
        for _ in range(ROUNDS):
            for name, exchange in ways.items():
                for _ in range(REPEATS[size]):
                    began = time.perf_counter_ns()
                    exchange(array)
                    times[name].append((time.perf_counter_ns() - began) / 1000)
    medians = {name: statistics.median(t) for name, t in times.items()}
    return {
        name: {
            "p50_us": medians[name],
            "p99_us": float(np.percentile(t, 99)),
            "over_bare_us": medians[name] - medians["bare call"],
            "times_ours": medians[name] / medians["link"],
        }
        for name, t in times.items()
    }


def _first(array: Any) -> Any:
    return array.reshape(-1)[:1].copy()


class _Link:
    """Our link to a process that answers; both ways to ask it."""

    def __init__(self, asking: AskingEnd) -> None:
        self._asking = asking
        self._poll = select.poll()
        self._poll.register(asking.response_fd, select.POLLIN)

    def copied(self, value: Any) -> Any:
        return self._wait(self._asking.ask({"x": value}))

    def in_place(self, value: Any) -> Any:
        """With what lies in the slot: ``value`` was written there in an earlier round."""
        return self._wait(self._asking.ask(self._asking.room()))

    def _wait(self, number: int) -> Any:
        while True:
            self._poll.poll()
            answer = self._asking.answer(number)
            if answer is not None:
                return answer.outputs["y"]


@contextmanager
def _link(array: Any) -> Iterator[_Link]:
    layout = layout_of((TensorSpec("x", str(array.dtype), array.shape),), (TensorSpec("y", str(array.dtype), (1,)),))
    fds = create_link(layout.total_bytes)
    child = os.fork()
    if child == 0:
        _serve_link(layout, fds)
    asking = AskingEnd(layout, fds)
    try:
        yield _Link(asking)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        asking.close()


def _serve_link(layout: LinkLayout, fds: LinkFds) -> None:
    end = AnsweringEnd(layout, fds, SystemClock())
    poll = select.poll()
    poll.register(end.request_fd, select.POLLIN)
    while True:
        poll.poll()
        end.serve(lambda arrays: {"y": arrays["x"].reshape(-1)[:1]})


@contextmanager
def _pipe() -> Iterator[Exchange]:
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(target=_serve_pipe, args=(theirs,), daemon=True)
    child.start()

    def exchange(value: Any) -> Any:
        ours.send(value)
        return ours.recv()

    try:
        yield exchange
    finally:
        child.kill()
        child.join()


def _serve_pipe(conn: Any) -> None:
    while True:
        conn.send(conn.recv().reshape(-1)[:1])


@contextmanager
def _queue() -> Iterator[Exchange]:
    context = multiprocessing.get_context("fork")
    requests: Any = context.Queue()
    answers: Any = context.Queue()
    child = context.Process(target=_serve_queue, args=(requests, answers), daemon=True)
    child.start()

    def exchange(value: Any) -> Any:
        requests.put(value)
        return answers.get()

    try:
        yield exchange
    finally:
        child.kill()
        child.join()
        for queue in (requests, answers):
            queue.cancel_join_thread()
            queue.close()


def _serve_queue(requests: Any, answers: Any) -> None:
    while True:
        answers.put(requests.get().reshape(-1)[:1])


def lines(figures: dict[str, object]) -> list[str]:
    text = [f"  {'there and back':18}{'p50 us':>12}{'p99 us':>12}{'over bare us':>14}{'times ours':>12}"]
    for size, ways in figures.items():
        assert isinstance(ways, dict)
        text.append(f"  {size}")
        rows = ((name, w["p50_us"], w["p99_us"], w["over_bare_us"], w["times_ours"]) for name, w in ways.items())
        text += [f"    {name:16}{p50:12.1f}{p99:12.1f}{over:14.1f}{times:12.1f}" for name, p50, p99, over, times in rows]
    return text
