"""On what terms a sink gets its predictions: queue, policy and age, as its checked options say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POLICIES = ("block", "drop_oldest", "latest_only")
DIRECT_KINDS = frozenset({"mqtt", "jsonl", "gpio"})
"""Kinds that never block for long: without a queue of their own they are called where the prediction is made, which saves the thread's
wake-up. A socket that listens is one too: it only ever sends what can be sent at once."""

DEFAULT_QUEUE = 256
DEFAULT_MAX_AGE_S = 60.0
DEFAULT_KEEP = 4
"""Older files of a ``jsonl`` sink that stay."""


@dataclass(frozen=True, slots=True)
class SinkTerms:
    """``queue`` predictions may wait, ``policy`` is what happens when they are more, ``max_age_s`` is how long one is tried to be sent.
    ``direct``: no queue, no thread, no second attempt."""

    queue: int = DEFAULT_QUEUE
    policy: str = "drop_oldest"
    max_age_s: float = DEFAULT_MAX_AGE_S
    direct: bool = False


def terms_of(kind: str, options: Mapping[str, Any]) -> SinkTerms:
    """The terms of a sink of ``kind`` with these ``options``."""
    return SinkTerms(
        queue=int(options.get("queue", DEFAULT_QUEUE)),
        policy=str(options.get("policy", "drop_oldest")),
        max_age_s=float(options.get("max_age_s", DEFAULT_MAX_AGE_S)),
        direct=(kind in DIRECT_KINDS or (kind == "socket" and "listen" in options)) and not {"queue", "policy"} & options.keys(),
    )


def kept_files(path: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The file of a ``jsonl`` sink and the older ones it becomes; the options may still be unchecked."""
    keep = options.get("keep", DEFAULT_KEEP)
    return (path, *(f"{path}.{number}" for number in range(1, 1 + (keep if isinstance(keep, int) and keep <= 1000 else 0))))
