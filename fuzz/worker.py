"""The process that tries cases: forked once with everything imported, bounded in memory, replaced when native code in it crashes."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edge_agent.errors import EdgeError
from fuzz.seeds import Seed
from fuzz.subjects import SUBJECTS, WAYS, WEIGHTS, Wrong

MEMORY_BYTES = 3 << 30
"""Of address space beyond what the process has at its start; a refusal by the allocator is a clear answer."""

Answer = tuple[int, str, str, float]
"""Number of the case; taken, as it is, refused (by a pass), memory, traceback or wrong; what was said; seconds."""


def make_case(seeds: Sequence[Seed], seed: int, number: int) -> tuple[Seed, bytes, random.Random]:
    """The damaged file of case ``number``: the same seeds and numbers give the same bytes."""
    chance = random.Random(f"{seed}/{number}")
    kinds = sorted({item.kind for item in seeds})
    kind = chance.choices(kinds, [WEIGHTS[word] for word in kinds])[0]
    own = [item for item in seeds if item.kind == kind]
    source, other = chance.choice(own), chance.choice(own)
    data = bytearray(source.data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if data:
            data = chance.choice(WAYS[kind])(chance, data, other.data)
    return source, bytes(data), chance


def try_case(seeds: Sequence[Seed], seed: int, number: int, folder: Path) -> Answer:
    source, data, chance = make_case(seeds, seed, number)
    path = folder / f"case.{source.kind}"
    path.write_bytes(data)
    start = time.monotonic()
    try:
        word, said = SUBJECTS[source.kind](path, chance), ""
    except EdgeError as error:
        said = str(error)
        word = "refused by a pass" if "cannot take this network" in said else "refused"
        if not said.strip():
            word, said = "traceback", f"{type(error).__name__} without a word"
    except MemoryError:
        word, said = "memory", "not enough memory"
    except Wrong as error:
        word, said = "wrong", str(error)
    except BaseException:
        word, said = "traceback", traceback.format_exc()
    return number, word, f"{source.kind}/{source.name}: {said[-3000:]}", time.monotonic() - start


def serve(pipe: Connection, seeds: Sequence[Seed], seed: int) -> None:
    """Takes lists of case numbers until ``None`` comes, and answers each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.disable()  # a crash is counted, not told at length
    _bound()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory_folder()) as folder, _quiet():
        while (numbers := pipe.recv()) is not None:
            for number in numbers:
                pipe.send(try_case(seeds, seed, number, Path(folder)))


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _memory_folder() -> str | None:
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and os.access(shared, os.W_OK) else None


@contextlib.contextmanager
def _quiet() -> Any:
    """Native code prints what it thinks of a file; a hundred thousand of these help nobody."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    yield
