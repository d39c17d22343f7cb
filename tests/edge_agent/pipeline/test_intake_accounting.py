"""Whatever comes, is taken or is dropped, in any order: produced = taken + dropped + waiting, and nothing comes twice or out of turn."""

from __future__ import annotations

import queue
import select

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.errors import SourceError
from edge_agent.inference.doorbell import silence
from edge_agent.pipeline.intake import POLICIES, Intake
from edge_agent.values import Sample


class Faucet:
    """A source that gives what the test puts into it, in blocks, and fails when the test says so."""

    name = "faucet"
    garbage = 0

    def __init__(self) -> None:
        self.lost = 0
        self._coming: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._seq = 0

    def pour(self, rows: int) -> None:
        """``rows`` of 0 is a failure."""
        self._coming.put(rows)

    def open(self) -> None:
        pass

    def read(self, timeout_s: float) -> Sample | None:
        try:
            rows = self._coming.get(timeout=min(timeout_s, 0.005))
        except queue.Empty:
            return None
        if not rows:
            raise SourceError("failed")
        values = np.arange(self._seq, self._seq + rows, dtype=np.float64)[:, np.newaxis]
        self._seq += rows
        return Sample(self.name, self._seq - rows, self._seq - rows, values if rows > 1 else values[0], None, rows, 1)

    def close(self) -> None:
        pass


class Accounting(RuleBasedStateMachine):
    """Produces and takes in any order. Rows are followed one by one."""

    @initialize(policy=st.sampled_from(POLICIES), capacity=st.integers(1, 12))
    def begin(self, policy: str, capacity: int) -> None:
        self.policy, self.capacity = policy, capacity
        self.source = Faucet()
        self.intake = Intake(self.source, capacity, SystemClock(), lambda *_: None, lambda: 0.99, policy)
        self.intake.start()
        self.produced = self.taken = 0
        self.last = -1
        self.failed = False

    def blocked(self) -> bool:
        """Whether the reader may stand with rows in its hand: it goes on when half the room is free."""
        return self.policy == "block" and self.intake.counts().waiting > self.capacity // 2

    @precondition(lambda self: not self.blocked())
    @rule(rows=st.integers(1, 20))
    def produce(self, rows: int) -> None:
        self.source.pour(rows)
        self.produced += rows
        wait_for(lambda: self.intake.counts().produced == self.produced + self.source.lost)

    @precondition(lambda self: not self.failed and not self.blocked())
    @rule()
    def fail_once(self) -> None:
        self.failed = True
        self.source.pour(0)

    @rule(count=st.integers(1, 3))
    def lose_in_the_source(self, count: int) -> None:
        self.source.lost += count

    @rule()
    def take_one(self) -> None:
        if self.intake.counts().waiting:
            pair = wait_for(self.intake.take)
            assert pair is not None
            self.check(pair[0])

    @rule(rows=st.integers(1, 15))
    def sleep_until_enough(self, rows: int) -> None:
        """The bell has rung when, and not before, there is enough."""
        if not self.intake.enough(rows):
            silence(self.intake.bell_fd)
            asked = min(rows, self.capacity)
            missing = asked - self.intake.counts().waiting
            if self.blocked() or missing <= 0:
                return
            if missing > 1:
                self.produce(missing - 1)
                assert not select.select([self.intake.bell_fd], [], [], 0)[0]
            self.produce(1)
            assert select.select([self.intake.bell_fd], [], [], 5.0)[0]

    @rule()
    def take_all(self) -> None:
        for sample, _ in self.intake.take_all():
            self.check(sample)

    def check(self, sample: Sample) -> None:
        values = np.atleast_2d(sample.values)[:, 0].tolist()
        assert values == list(range(sample.seq, sample.seq + sample.rows)), "a split block kept its numbers with its rows"
        assert sample.t_ns == sample.seq
        assert sample.seq > self.last
        if self.policy == "block":
            assert sample.seq == self.last + 1, "nothing is lost"
        self.last = sample.seq + sample.rows - 1
        self.taken += sample.rows

    @invariant()
    def adds_up(self) -> None:
        if not hasattr(self, "intake"):
            return
        counts = self.intake.counts()
        assert counts.produced == self.produced + self.source.lost
        assert counts.produced == self.taken + counts.dropped + counts.waiting
        if self.policy == "block":
            assert counts.dropped == self.source.lost
        else:
            assert counts.waiting <= self.capacity

    def teardown(self) -> None:
        if hasattr(self, "intake"):
            self.intake.stop(5.0)
            counts = self.intake.counts()
            assert counts.produced == self.taken + counts.dropped + counts.waiting and counts.waiting <= self.capacity


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
