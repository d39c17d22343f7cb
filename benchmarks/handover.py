"""Handing an array to another process and an answer back: our link beside multiprocessing's Pipe and Queue, in the same run.

The other process answers with one number of the array, so what is timed is the handover alone. Rounds take turns, so that a machine
that is busy for a while is busy for all three.
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
    """Microseconds there and back (median, 99th percentile) by size and way, and how many times our link's median each other way takes."""
    return {size: _compare(size, shape) for size, shape in SIZES.items()}


def _compare(size: str, shape: tuple[int, ...]) -> dict[str, dict[str, float]]:
    array = np.ones(shape, np.uint8 if len(shape) == 3 else np.float32)
    with _link(array) as link, _pipe() as pipe, _queue() as queue:
        ways: dict[str, Exchange] = {"link": link, "mp.Pipe": pipe, "mp.Queue": queue}
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
    ours = statistics.median(times["link"])
    return {
        name: {"p50_us": statistics.median(t), "p99_us": float(np.percentile(t, 99)), "times_ours": statistics.median(t) / ours}
        for name, t in times.items()
    }


@contextmanager
def _link(array: Any) -> Iterator[Exchange]:
    layout = layout_of((TensorSpec("x", str(array.dtype), array.shape),), (TensorSpec("y", str(array.dtype), (1,)),))
    fds = create_link(layout.total_bytes)
    child = os.fork()
    if child == 0:
        _serve_link(layout, fds)
    asking = AskingEnd(layout, fds)
    poll = select.poll()
    poll.register(asking.response_fd, select.POLLIN)

    def exchange(value: Any) -> Any:
        number = asking.ask({"x": value})
        while True:
            poll.poll()
            answer = asking.answer(number)
            if answer is not None:
                return answer.outputs["y"]

    try:
        yield exchange
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
    text = [f"  {'there and back':14}{'p50 us':>12}{'p99 us':>12}{'times ours':>14}"]
    for size, ways in figures.items():
        assert isinstance(ways, dict)
        text.append(f"  {size}")
        text += [f"    {name:12}{w['p50_us']:12.1f}{w['p99_us']:12.1f}{w['times_ours']:14.1f}" for name, w in ways.items()]
    return text
