"""Which channels a tensor holds, in order, and which layers' channels can only go together (a union-find over their groups)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Span:
    """``channels`` channels of ``group`` side by side, each ``repeat`` entries long (a flattened image has height x width of them)."""

    group: int
    channels: int
    repeat: int = 1

    @property
    def entries(self) -> int:
        return self.channels * self.repeat


Spans = tuple[Span, ...]


def entries(spans: Spans) -> int:
    """How long the channel axis of a tensor of ``spans`` is."""
    return sum(span.entries for span in spans)


def channel_rows(spans: Spans) -> list[tuple[int, Any]]:
    """For each span its group and the positions of its channels on the axis, int64 (channels, repeat)."""
    found, offset = [], 0
    for span in spans:
        found.append((span.group, offset + np.arange(span.entries).reshape(span.channels, span.repeat)))
        offset += span.entries
    return found


def kept_entries(spans: Spans, keep: Mapping[int, Any]) -> Any:
    """The positions along the axis that stay when each group keeps the channels ``keep`` names (all, where it names none)."""
    parts = [rows[keep[group]].reshape(-1) if group in keep else rows.reshape(-1) for group, rows in channel_rows(spans)]
    return np.concatenate(parts)


@dataclass(slots=True)
class Union:
    """Groups by number; ``join`` makes two one, ``fix`` forbids to touch one. Used while a graph is read, then read off."""

    _parent: list[int] = field(default_factory=list)
    _fixed: set[int] = field(default_factory=set)

    def new(self) -> int:
        self._parent.append(len(self._parent))
        return len(self._parent) - 1

    def find(self, group: int) -> int:
        while self._parent[group] != group:
            self._parent[group] = group = self._parent[self._parent[group]]
        return group

    def join(self, one: int, other: int) -> None:
        one, other = sorted((self.find(one), self.find(other)))
        self._parent[other] = one

    def fix(self, spans: Iterable[Span] | None) -> None:
        self._fixed.update(span.group for span in spans or ())

    def fixed(self) -> frozenset[int]:
        return frozenset(self.find(group) for group in self._fixed)

    def settled(self, spans: Spans) -> Spans:
        """``spans`` under the numbers that the groups have now."""
        return tuple(Span(self.find(span.group), span.channels, span.repeat) for span in spans)
