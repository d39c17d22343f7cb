"""Library pages that were needed to start and are not needed to go on: unmapped, so that the process is charged for what it uses.

Importing numpy and a model runtime touches some 10 MiB of their code and tables once. Such pages are clean copies of the file: the kernel
keeps them in its page cache as long as there is room, and one that is needed after all is mapped again in a microsecond.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MADV_DONTNEED = 4
_SMAPS = Path("/proc/self/smaps")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A stretch of mapped memory, as ``/proc/PID/smaps`` (proc(5)) tells it. ``own_kib`` are pages that differ from the file, in memory or
    in swap; None where the kernel does not say."""

    start: int
    end: int
    access: str
    path: str
    resident_kib: int
    own_kib: int | None


def forget_libraries() -> int:
    """Unmap every page of libraries (and of the program itself) that equals the file; how many KiB were mapped. Call with one thread.

    Does nothing where the kernel does not tell what is mapped, or refuses.
    """
    try:
        with _SMAPS.open() as lines:
            clean = list(forgettable(mappings(lines)))
    except OSError:
        return 0
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    gone = [m for m in clean if libc.madvise(m.start, m.end - m.start, _MADV_DONTNEED) == 0]
    return sum(m.resident_kib for m in gone)


def forgettable(found: Iterable[Mapping]) -> Iterator[Mapping]:
    """Those whose every page can be read from the file again: private, not writable, and unchanged.

    Only of files that have code mapped: a model's weights are mapped too, and the next inference wants them. A page that was relocated or
    written differs from its file, even where it may not be written any more; the kernel counts such pages as anonymous.
    """
    everything = list(found)
    programs = {m.path for m in everything if "x" in m.access and m.path.startswith("/")}
    for m in everything:
        if m.path in programs and m.access[1] == "-" and m.access[3] == "p" and m.own_kib == 0 and m.resident_kib:
            yield m


def mappings(lines: Iterable[str]) -> Iterator[Mapping]:
    """What ``smaps`` says, a mapping at a time. Raises ValueError for text that is something else."""
    head: list[str] = []
    values: dict[str, int] = {}
    for line in lines:
        words = line.split(None, 5)
        if words[0].endswith(":"):
            if words[0] in ("Rss:", "Anonymous:", "Swap:"):
                values[words[0]] = int(words[1])
            continue
        if head:
            yield _mapping(head, values)
        head, values = words, {}
    if head:
        yield _mapping(head, values)


def _mapping(head: list[str], values: dict[str, int]) -> Mapping:
    start, _, end = head[0].partition("-")
    path = head[5].rstrip("\n") if len(head) > 5 else ""
    # Swapped pages are not counted as anonymous, and to unmap them would lose them.
    own = values["Anonymous:"] + values["Swap:"] if "Anonymous:" in values and "Swap:" in values else None
    return Mapping(int(start, 16), int(end, 16), head[1], path, values.get("Rss:", 0), own)
