"""How the readings of an IIO buffer lie in memory. Source: Linux, Documentation/ABI/testing/sysfs-bus-iio (scan_elements/*_type) and
drivers/iio/industrialio-buffer.c (iio_compute_scan_bytes)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_TYPE = re.compile(r"(be|le):([su])(\d+)/(\d+)(?:X(\d+))?(?:>>(\d+))?")


@dataclass(frozen=True, slots=True)
class ScanType:
    """``[be|le]:[s|u]bits/storagebits[>>shift]``."""

    big_endian: bool
    signed: bool
    bits: int
    storage_bits: int
    shift: int

    @property
    def storage_bytes(self) -> int:
        return self.storage_bits // 8


@dataclass(frozen=True, slots=True)
class ScanElement:
    """An enabled channel: its name (``accel_x``), its place in the order of the scan, its form."""

    channel: str
    index: int
    form: ScanType


@dataclass(frozen=True, slots=True)
class ScanLayout:
    """Where each element of one scan begins, in the order of the scan, and the bytes of a scan."""

    elements: tuple[ScanElement, ...]
    offsets: tuple[int, ...]
    scan_bytes: int


def parse_type(text: str) -> ScanType:
    """Raises ValueError, as the end of a sentence, for what this reader cannot take apart."""
    found = _TYPE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text.strip()[:40]!r} is not of the form [be|le]:[s|u]bits/storagebits[>>shift]")
    order, sign, bits, storage, repeat, shift = found.groups()
    form = ScanType(order == "be", sign == "s", int(bits), int(storage), int(shift or 0))
    if int(repeat or 1) > 1:
        raise ValueError(f"{text.strip()!r} has {repeat} numbers in one element, which is not supported")
    if form.storage_bits not in (8, 16, 32, 64) or not 0 < form.bits <= form.storage_bits - form.shift:
        raise ValueError(f"{text.strip()!r} does not fit together")
    return form


def lay_out(elements: Sequence[ScanElement]) -> ScanLayout:
    """Each element lies at a multiple of its own size, and so does the next scan of the largest."""
    ordered = tuple(sorted(elements, key=lambda element: element.index))
    offsets: list[int] = []
    end = 0
    for element in ordered:
        size = element.form.storage_bytes
        offsets.append(-(-end // size) * size)
        end = offsets[-1] + size
    largest = max(element.form.storage_bytes for element in ordered)
    return ScanLayout(ordered, tuple(offsets), -(-end // largest) * largest)


def decode(layout: ScanLayout, data: bytes) -> Any:
    """Whole scans to raw numbers: float64 (scans, elements) in the order of the scan."""
    import numpy as np

    scans = np.frombuffer(data, np.uint8).reshape(-1, layout.scan_bytes)
    values = np.empty((len(scans), len(layout.elements)), np.float64)
    for column, (element, offset) in enumerate(zip(layout.elements, layout.offsets, strict=True)):
        form = element.form
        stored = np.ascontiguousarray(scans[:, offset : offset + form.storage_bytes])
        words = stored.view(f"{'>' if form.big_endian else '<'}u{form.storage_bytes}")[:, 0].astype(np.uint64)
        # To the top, then back: the bits above go, and for signed ones the sign comes along.
        raised = words << np.uint64(64 - form.shift - form.bits)
        values[:, column] = raised.view(np.int64) >> np.int64(64 - form.bits) if form.signed else raised >> np.uint64(64 - form.bits)
    return values
