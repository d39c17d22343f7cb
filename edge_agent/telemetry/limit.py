"""How often the same thing may be said: token buckets (RFC 2697 has the idea) with a bound on how many are kept. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float
    suppressed: int = 0


class RepeatLimit:
    """For every key ``burst`` at once, then ``per_s`` a second. At most ``keys`` keys are remembered, the latest used."""

    def __init__(self, *, burst: float, per_s: float, keys: int = 128) -> None:
        self._burst = burst
        self._per_s = per_s
        self._keys = keys
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def admit(self, key: str, now_s: float) -> int | None:
        """``None`` when ``key`` must be silent now; else how often it was silenced since it was last admitted."""
        bucket = self._buckets.pop(key, None) or _Bucket(self._burst, now_s)
        self._buckets[key] = bucket
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + max(0.0, now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        if bucket.tokens < 1.0:
            bucket.suppressed += 1
            return None
        bucket.tokens -= 1.0
        suppressed, bucket.suppressed = bucket.suppressed, 0
        return suppressed
