"""Counting what the devices wrote: every sample must have exactly one answer, in order."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ledger:
    """The predictions of one device. ``missing`` and ``repeated`` count sample numbers that have no answer, or more than one."""

    answered: int
    missing: int
    repeated: int
    by_version: dict[str, int]
    correct: int
    labelled: int
    slowest_gap_ms: float


def read_ledger(path: Path, *, pauses_since: int = 0) -> Ledger:
    """The ledger of the JSON lines file at ``path``; a line still being written is left out.

    ``pauses_since`` leaves the first so many answers out of ``slowest_gap_ms``.
    """
    lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []
    seen = Counter(int(line["first_seq"]) for line in lines)
    last = max(seen, default=-1)
    answered_ns = [int(line["t_ns"]) + int(line["times"]["total_us"] * 1e3) for line in lines[pauses_since:]]
    gaps = [(b - a) / 1e6 for a, b in pairwise(answered_ns)]
    labelled = [line for line in lines if line.get("expected") is not None]
    return Ledger(
        answered=len(lines),
        missing=last + 1 - len(seen),
        repeated=sum(count - 1 for count in seen.values()),
        by_version=dict(Counter(str(line["version"]) for line in lines)),
        correct=sum(str(line["expected"]) == line["label"] for line in labelled),
        labelled=len(labelled),
        slowest_gap_ms=max(gaps, default=0.0),
    )
