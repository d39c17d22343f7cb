"""Raw binary records: numbers of one type in one shape, nothing between them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.clock import Clock
from edge_agent.sources.row_clock import RowClock
from edge_agent.values import DTYPES, Sample


@dataclass(frozen=True, slots=True)
class RecordForm:
    """``dtype`` with its byte order as numpy spells it (``<f4``), ``shape`` of one record, and how many come a second (0: not known)."""

    dtype: str
    shape: tuple[int, ...]
    rate_hz: float

    @staticmethod
    def of(options: Mapping[str, Any]) -> RecordForm:
        """From the options dtype, byte_order (little), shape (one number), rate_hz (0)."""
        word = str(options["dtype"])
        kind = word[0] if word != "bool" else "?"
        order = ">" if options.get("byte_order", "little") == "big" else "<"
        size = "" if word == "bool" else str(DTYPES[word])
        return RecordForm(f"{order}{kind}{size}", tuple(options.get("shape", (1,))), float(options.get("rate_hz", 0.0)))

    @property
    def record_bytes(self) -> int:
        size = 1 if self.dtype.endswith("?") else int(self.dtype[2:])
        return math.prod(self.shape) * size


class RecordReader:
    """Bytes to samples. Flat records (one axis) that are there together make one block; records of more axes, such as frames, are a sample
    each, in their own type."""

    def __init__(self, name: str, form: RecordForm, clock: Clock) -> None:
        import numpy as np

        self._name, self._form = name, form
        self._dtype = np.dtype(form.dtype)
        self._frombuffer = np.frombuffer
        self._rows = RowClock(form.rate_hz, clock)
        self._rest = bytearray()
        self._ready: deque[Sample] = deque()
        self._seq = 0

    def reset(self) -> None:
        self._rest.clear()
        self._rows.reset()

    def feed(self, data: bytes) -> None:
        self._rest += data
        count = len(self._rest) // self._form.record_bytes
        if count:
            size = count * self._form.record_bytes
            whole = bytes(self._rest[:size])
            del self._rest[:size]
            self._take(whole, count)

    def pop(self) -> Sample | None:
        return self._ready.popleft() if self._ready else None

    def take_whole(self, message: bytes) -> Sample | None:
        """A message that must hold one record, or with flat records one or more; ``None`` when it does not."""
        count, odd = divmod(len(message), self._form.record_bytes)
        if odd or not count or (count > 1 and len(self._form.shape) > 1):
            return None
        self._take(message, count)
        return self._ready.popleft()

    def _take(self, whole: bytes, count: int) -> None:
        array = self._frombuffer(whole, self._dtype).reshape(count, *self._form.shape)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if len(self._form.shape) == 1:
            self._add(array if count > 1 else array[0], count)
        else:
            for record in array:
                self._add(record, 1)

    def _add(self, values: Any, rows: int) -> None:
        t_ns, period_ns = self._rows.stamp(rows), self._rows.period_ns
        self._ready.append(Sample(self._name, self._seq, t_ns, values, None, rows, period_ns))
        self._seq += rows
