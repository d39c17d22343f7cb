"""The account of a sink's queue is exact after every step, whatever the steps are."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from made_predictions import prediction

from edge_agent.pipeline.outlet_queue import SinkQueue
from edge_agent.values import SinkCounts

MAX_AGE_NS = 100


class QueueMachine(RuleBasedStateMachine):
    """Beside the queue a list of every prediction's fate: the slow, obvious account."""

    @initialize(capacity=st.integers(1, 4), policy=st.sampled_from(["block", "drop_oldest", "latest_only"]))
    def begin(self, capacity: int, policy: str) -> None:
        self.capacity = 1 if policy == "latest_only" else capacity
        self.policy = policy
        self.queue = SinkQueue(capacity, policy, MAX_AGE_NS)
        self.now_ns = 0
        self.fates: list[str] = []
        self.given_ns: list[int] = []
        self.waiting: list[int] = []
        self.sending: list[int] = []
        self.ended = False

    def drop_over_capacity(self) -> None:
        while len(self.waiting) > self.capacity:
            self.fates[self.waiting.pop(0)] = "dropped"

    @rule(nanoseconds=st.integers(0, 80))
    def time_passes(self, nanoseconds: int) -> None:
        self.now_ns += nanoseconds

    @rule()
    def offer(self) -> None:
        number = len(self.fates)
        taken = self.queue.offer(prediction(number), self.now_ns)
        refused = self.policy == "block" and len(self.waiting) >= self.capacity and not self.ended
        assert taken is not refused
        if refused:
            return
        self.fates.append("dropped" if self.ended else "waiting")
        self.given_ns.append(self.now_ns)
        if not self.ended:
            self.waiting.append(number)
            self.drop_over_capacity()

    @rule()
    def turn_away(self) -> None:
        self.queue.turn_away()
        self.fates.append("dropped")
        self.given_ns.append(self.now_ns)

    @precondition(lambda self: not self.sending)
    @rule(most=st.integers(1, 5))
    def take(self, most: int) -> None:
        while self.waiting and self.now_ns - self.given_ns[self.waiting[0]] > MAX_AGE_NS:
            self.fates[self.waiting.pop(0)] = "dropped"
        self.sending, self.waiting = self.waiting[:most], self.waiting[most:]
        assert [made.window_seq for made in self.queue.take(most, self.now_ns)] == self.sending

    @rule(how=st.sampled_from(["emitted", "failed"]))
    def settle(self, how: str) -> None:
        getattr(self.queue, how)()
        for number in self.sending:
            self.fates[number] = how
        self.sending = []

    @rule()
    def put_back(self) -> None:
        self.queue.put_back()
        self.waiting, self.sending = self.sending + self.waiting, []
        if self.policy != "block":
            self.drop_over_capacity()

    @rule()
    def end(self) -> None:
        self.queue.end()
        self.ended = True
        for number in self.waiting + self.sending:
            self.fates[number] = "dropped"
        self.waiting, self.sending = [], []

    @invariant()
    def the_account_is_exact(self) -> None:
        counts = self.queue.counts()
        assert counts == SinkCounts(len(self.fates), *(self.fates.count(fate) for fate in ("emitted", "dropped", "failed", "waiting")))
        assert counts.given == counts.emitted + counts.dropped + counts.failed + counts.waiting
        assert len(self.queue) == len(self.waiting)
        assert not self.waiting or self.queue.oldest_ns == self.given_ns[self.waiting[0]]


TestQueue = QueueMachine.TestCase
