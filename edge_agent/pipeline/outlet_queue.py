"""The predictions that wait for one sink, with exact accounting. No threads and no clock: whoever holds it brings both."""

from __future__ import annotations

from collections import deque

from edge_agent.values import Prediction, SinkCounts


class SinkQueue:
    """At most ``capacity`` predictions wait, beside those that are being sent. At every moment
    given = emitted + dropped + failed + waiting.

    ``policy`` says what a full queue does: ``block`` takes no more, ``drop_oldest`` drops the oldest, ``latest_only`` keeps nothing but
    the newest whatever the capacity. What is older than ``max_age_ns`` is dropped when its turn comes.
    """

    def __init__(self, capacity: int, policy: str, max_age_ns: int) -> None:
        self._capacity = 1 if policy == "latest_only" else capacity
        self._blocks = policy == "block"
        self._max_age_ns = max_age_ns
        self._queue: deque[tuple[Prediction, int]] = deque()
        self._sending: list[tuple[Prediction, int]] = []
        self._ended = False
        self._given = self._emitted = self._dropped = self._failed = 0

    def __len__(self) -> int:
        """How many could be taken now."""
        return len(self._queue)

    @property
    def oldest_ns(self) -> int:
        """When the oldest that can be taken was given. Raises IndexError when there is none."""
        return self._queue[0][1]

    def offer(self, prediction: Prediction, now_ns: int) -> bool:
        """Whether it was taken; a full queue that blocks does not, and counts nothing."""
        if self._ended:
            self._given += 1
            self._dropped += 1
            return True
        if self._blocks and len(self._queue) >= self._capacity:
            return False
        self._given += 1
        self._queue.append((prediction, now_ns))
        self._trim()
        return True

    def turn_away(self) -> None:
        """One that was offered is given up because nobody can wait any longer."""
        self._given += 1
        self._dropped += 1

    def take(self, most: int, now_ns: int) -> list[Prediction]:
        """The oldest ones, up to ``most``, to be sent. They are waiting until :meth:`emitted`, :meth:`failed` or :meth:`put_back`."""
        while self._queue and now_ns - self._queue[0][1] > self._max_age_ns:
            self._queue.popleft()
            self._dropped += 1
        self._sending = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        return [prediction for prediction, _ in self._sending]

    def emitted(self) -> None:
        """What was taken has been sent."""
        self._emitted += len(self._sending)
        self._sending = []

    def failed(self) -> None:
        """What was taken will not be tried again."""
        self._failed += len(self._sending)
        self._sending = []

    def put_back(self) -> None:
        """What was taken could not be sent and is the oldest again."""
        self._queue.extendleft(reversed(self._sending))
        self._sending = []
        if not self._blocks:
            self._trim()

    def end(self) -> None:
        """Everything that waits is dropped, what is being sent too: nobody will hear how it went. So is whatever comes later."""
        self._ended = True
        self._dropped += len(self._queue) + len(self._sending)
        self._queue.clear()
        self._sending = []

    def counts(self) -> SinkCounts:
        return SinkCounts(self._given, self._emitted, self._dropped, self._failed, len(self._queue) + len(self._sending))

    def _trim(self) -> None:
        while len(self._queue) > self._capacity:
            self._queue.popleft()
            self._dropped += 1
