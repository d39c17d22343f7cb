"""The two ends of a link: tensors in shared memory, one doorbell each way.

A request is written once by the asking process and read in place by the model; an answer is written once by the model, or by the
worker where a runtime cannot write into memory it is given, and read in place. Requests are answered in the order of their numbers, which
count up by one.

The doorbells are eventfds, and every request and every answer rings once: how often it rang says which numbers may be looked at. Only the
ringing orders the memory before it; on processors other than x86 a header could be seen before what it speaks of.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError, ModelError
from edge_agent.inference.doorbell import LinkFds, silence
from edge_agent.inference.layout import MAX_DIMENSIONS, TEXT_BYTES, LinkLayout, Place

FREE, ASKED, TAKEN, ANSWERED, REFUSED = range(5)

_HEADER = struct.Struct("<QIId")
"""Request number, status, bytes of error text, microseconds the model took."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the worker said to request ``number``. ``outputs`` are views that stand until the slot is used again."""

    number: int
    outputs: dict[str, Any]
    model_us: float
    error: str = ""


class _Memory:
    """The mapped slots, with views of the tensors of fixed shape made once."""

    def __init__(self, layout: LinkLayout, memory_fd: int) -> None:
        self.layout = layout
        self.bytes = mmap.mmap(memory_fd, layout.total_bytes)
        self.inputs = [self._views(layout.inputs, slot) for slot in range(layout.slots)]
        self.outputs = [self._views(layout.outputs, slot) for slot in range(layout.slots)]

    def _views(self, places: tuple[Place, ...], slot: int) -> dict[str, Any]:
        return {p.name: self._view(p, slot, p.shape) for p in places if p.shape is not None}

    def _view(self, place: Place, slot: int, shape: tuple[int, ...]) -> Any:
        start = slot * self.layout.slot_bytes + place.offset
        return np.frombuffer(self.bytes, np.dtype(place.dtype), prod(shape), start).reshape(shape)

    def write(self, place: Place, slot: int, views: Mapping[str, Any], value: Any) -> None:
        """Copy ``value`` into its place. Raises ModelError for a wrong dtype, shape or size."""
        if value.dtype != np.dtype(place.dtype):
            raise ModelError(f"tensor {place.name}: is {value.dtype}, the manifest says {place.dtype}")
        if place.shape is not None:
            if value.shape != place.shape:
                raise ModelError(f"tensor {place.name}: has shape {value.shape}, the manifest says {place.shape}")
            np.copyto(views[place.name], value)
            return
        if value.nbytes > place.capacity_bytes or value.ndim > MAX_DIMENSIONS:
            raise ModelError(f"tensor {place.name}: {value.nbytes} bytes in {value.ndim} dimensions; the link holds {place.capacity_bytes}")
        start = slot * self.layout.slot_bytes + place.shape_offset
        struct.pack_into(f"<{1 + value.ndim}Q", self.bytes, start, value.ndim, *value.shape)
        np.copyto(self._view(place, slot, value.shape), value)

    def read(self, places: tuple[Place, ...], slot: int, views: Mapping[str, Any]) -> dict[str, Any]:
        """Views of the tensors now in ``slot``, by name."""
        if len(views) == len(places):
            return dict(views)
        return {p.name: views[p.name] if p.shape is not None else self._view(p, slot, self._shape(p, slot)) for p in places}

    def _shape(self, place: Place, slot: int) -> tuple[int, ...]:
        start = slot * self.layout.slot_bytes + place.shape_offset
        (count,) = struct.unpack_from("<Q", self.bytes, start)
        return struct.unpack_from(f"<{min(count, MAX_DIMENSIONS)}Q", self.bytes, start + 8)

    def header(self, slot: int) -> tuple[int, int, int, float]:
        return _HEADER.unpack_from(self.bytes, slot * self.layout.slot_bytes)

    def set_header(self, slot: int, number: int, status: int, text: bytes = b"", model_us: float = 0.0) -> None:
        start = slot * self.layout.slot_bytes
        if text:
            where = start + self.layout.text_offset
            self.bytes[where : where + len(text)] = text
        _HEADER.pack_into(self.bytes, start, number, status, len(text), model_us)

    def text(self, slot: int, length: int) -> str:
        where = slot * self.layout.slot_bytes + self.layout.text_offset
        return self.bytes[where : where + min(length, TEXT_BYTES)].decode(errors="replace")


class AskingEnd:
    """The end of the process that asks. Takes ownership of ``fds``."""

    def __init__(self, layout: LinkLayout, fds: LinkFds) -> None:
        self._memory = _Memory(layout, fds.memory)
        self._fds = fds
        self._next = 0
        self._answered = 0
        self.response_fd = fds.response

    def room(self) -> dict[str, Any]:
        """Where the next request's tensors of fixed shape lie, by name: what is written there need not be copied by :meth:`ask`.

        Never while as many requests are unanswered as the link has slots.
        """
        return self._memory.inputs[self._next % self._memory.layout.slots]

    def ask(self, arrays: Mapping[str, Any]) -> int:
        """Write a request and ring; its number. Raises ModelError when a tensor is missing or does not fit the manifest."""
        memory = self._memory
        slot = self._next % memory.layout.slots
        views = memory.inputs[slot]
        for place in memory.layout.inputs:
            value = arrays.get(place.name)
            if value is None:
                raise ModelError(f"tensor {place.name}: preprocessing did not make it")
            if value is not views.get(place.name):
                memory.write(place, slot, views, value)
        return self.ring()

    def ring(self) -> int:
        """Ask with what lies in the slot now; the request's number."""
        memory, number = self._memory, self._next
        memory.set_header(number % memory.layout.slots, number, ASKED)
        self._next = number + 1
        os.eventfd_write(self._fds.request, 1)
        return number

    def answer(self, number: int) -> Answer | None:
        """The answer to request ``number`` when it is there. Call when ``response_fd`` can be read."""
        memory = self._memory
        slot = number % memory.layout.slots
        self._answered += silence(self.response_fd)
        if number >= self._answered:
            return None
        _, status, length, model_us = memory.header(slot)
        if status == REFUSED:
            return Answer(number, {}, model_us, memory.text(slot, length) or "the model refused the input")
        return Answer(number, memory.read(memory.layout.outputs, slot, memory.outputs[slot]), model_us)

    def taken(self, number: int) -> bool:
        """Whether the worker began on request ``number``; also after :meth:`close`."""
        asked, status, _, _ = self._memory.header(number % self._memory.layout.slots)
        return asked == number and status >= TAKEN

    def close(self) -> None:
        self._fds.close()


Run = Callable[[Mapping[str, Any]], dict[str, Any]]
Bind = Callable[[Mapping[str, Any], Mapping[str, Any]], "Callable[[], None] | None"]
"""``bind(inputs, outputs)``: one inference from and into these arrays, ``None`` where the runtime cannot."""


class AnsweringEnd:
    """The worker's end. Takes ownership of ``fds``. With ``bind`` the model reads and writes the slots in place where it can."""

    def __init__(self, layout: LinkLayout, fds: LinkFds, clock: Clock, bind: Bind | None = None) -> None:
        self._memory = _Memory(layout, fds.memory)
        self._fds = fds
        self._clock = clock
        self._slots = layout.slots
        self._next = 0
        self._bound = [self._bind(bind, slot) for slot in range(layout.slots)]
        self.request_fd = fds.request

    def _bind(self, bind: Bind | None, slot: int) -> Callable[[], None] | None:
        memory, layout = self._memory, self._memory.layout
        if bind is None or any(place.shape is None for place in (*layout.inputs, *layout.outputs)):
            return None
        return bind(memory.inputs[slot], memory.outputs[slot])

    def serve(self, run: Run) -> tuple[int, int]:
        """Answer every waiting request in the order asked; how many were answered, and how many of them with an error."""
        count, errors = silence(self.request_fd), 0
        for number in range(self._next, self._next + count):
            errors += not self._answer(number, number % self._slots, run)
        self._next += count
        return count, errors

    def _answer(self, number: int, slot: int, run: Run) -> bool:
        memory = self._memory
        memory.set_header(slot, number, TAKEN)
        started_ns = self._clock.monotonic_ns()
        try:
            bound = self._bound[slot]
            if bound is not None:
                bound()
                model_us = (self._clock.monotonic_ns() - started_ns) / 1000
            else:
                outputs = run(memory.read(memory.layout.inputs, slot, memory.inputs[slot]))
                model_us = (self._clock.monotonic_ns() - started_ns) / 1000
                self._write(slot, outputs)
        except (EdgeError, MemoryError) as error:
            text = (str(error) or type(error).__name__).encode()[:TEXT_BYTES]
            memory.set_header(slot, number, REFUSED, text)
            os.eventfd_write(self._fds.response, 1)
            return False
        memory.set_header(slot, number, ANSWERED, model_us=model_us)
        os.eventfd_write(self._fds.response, 1)
        return True

    def _write(self, slot: int, outputs: Mapping[str, Any]) -> None:
        memory = self._memory
        for place in memory.layout.outputs:
            if place.name not in outputs:
                raise ModelError(f"tensor {place.name}: the model did not answer it")
            memory.write(place, slot, memory.outputs[slot], outputs[place.name])

    def close(self) -> None:
        self._bound = []
        self._fds.close()
