"""The inline lane: a small trusted model that runs in the API's own process. What it does to the process, it does to the API."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.front.exchange import Exchange, Shape
from edge_agent.front.served import Served
from edge_agent.ports import Runtime


class InlineLink:
    """Shaped like :class:`~edge_agent.front.worker_link.WorkerLink`; every answer is there as soon as it is asked for."""

    at_once = True
    free = True

    def __init__(self, number: int, served: Served, runtime: Runtime, clock: Clock) -> None:
        self.link = number
        self.served = served
        self.asked: dict[int, Exchange] = {}
        self.last_answer_ns = 0
        self.busy_ns = 0
        self.answers = 0
        # Never rings: it keeps the link watchable as the others are.
        self.response_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._runtime = runtime
        self._clock = clock
        self._answer: tuple[Exchange, dict[str, Any], str, float] | None = None
        self._dtypes = {name: np.dtype(place.dtype) for name, place in served.inputs.items()}
        self._names = [place.name for place in served.layout.outputs]
        self._outputs: dict[str, Any] = {}
        self._why = ""

    def put(self, exchange: Exchange) -> None:
        """Run the model."""
        plan = exchange.plan
        arrays = {
            place.name: np.frombuffer(piece, self._dtypes[place.name]).reshape(shape)
            for place, shape, piece in zip(plan.places, plan.shapes, exchange.pieces(), strict=True)
        }
        began_ns = self._clock.monotonic_ns()
        outputs, why = {}, ""
        try:
            outputs = self._runtime.run(arrays)
        except (EdgeError, MemoryError) as error:
            why = str(error) or type(error).__name__
        self._answer = (exchange, outputs, why, (self._clock.monotonic_ns() - began_ns) / 1000)

    def answered(self) -> list[tuple[Exchange, int, int, float]]:
        """The answer to what was asked last, once."""
        if self._answer is None:
            return []
        exchange, self._outputs, self._why, model_us = self._answer
        self._answer = None
        return [(exchange, 0, 0 if self._why else -1, model_us)]

    def taken(self, exchange: Exchange) -> bool:
        return True

    def values(self, base: int) -> tuple[Sequence[Any], Sequence[Shape]]:
        arrays = [self._outputs[name] for name in self._names]
        return [array.tobytes() for array in arrays], [array.shape for array in arrays]

    def text(self, base: int, length: int) -> str:
        return self._why

    def close(self) -> None:
        os.close(self.response_fd)
        self._runtime.close()
