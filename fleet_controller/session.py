"""The controller's view of the fleet while it is connected: hears devices, keeps the inventory, writes late results down."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from edge_agent.clock import Clock, monotonic_s
from edge_agent.protocol.codec import encode
from edge_agent.protocol.messages import FINAL_STATUSES, AckMessage, CommandMessage, MetricsMessage, ResultMessage, StatusMessage
from edge_agent.protocol.topics import Topics
from fleet_controller.hear import Gone, Heard, Malformed, hear
from fleet_controller.inventory import ONLINE, Inventory
from fleet_controller.link import BrokerAddress, FleetLink
from fleet_controller.store import FleetStore

_GATHER_S = 5.0


class FleetSession:
    """Use as a context manager. ``tell`` gets one line about anything odd (a malformed message, a lost connection).

    ``own`` is the id of the order in hand, whose results the caller records; all other results known to the store are recorded here.
    """

    def __init__(self, address: BrokerAddress, store: FleetStore, clock: Clock, tell: Callable[[str], None]) -> None:
        self.fleet = f"{address}/{address.prefix}"
        self.inventory = Inventory(store.remembered(self.fleet))
        self.own = ""
        self._prefix = address.prefix
        self._store = store
        self._clock = clock
        self._tell = tell
        self._complained: set[str] = set()
        self._news: dict[str, StatusMessage] = {}
        self._link = FleetLink(address, clock, on_change=self._link_changed)

    def __enter__(self) -> FleetSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._link.flush()
        self._link.close()
        self._store.remember(self.fleet, self._news.values())

    def connect(self, *, metrics: bool = False) -> None:
        """Connect and take in every retained status. Raises TransportError."""
        kinds = ["status", "events", "result"]
        self._link.connect([*kinds, "metrics"] if metrics else kinds)
        self._link.settle()
        deadline_s = monotonic_s(self._clock) + _GATHER_S
        while monotonic_s(self._clock) < deadline_s and self._take(0.0):
            pass

    def next(self, timeout_s: float) -> tuple[Heard, bool] | None:
        """The next message and whether it is live (not retained); the inventory knows it already. ``None`` when none came in time."""
        taken = self._take(timeout_s)
        if taken is None or isinstance(taken[0], (Gone, Malformed)):
            return None
        return taken[0], taken[1]

    def send(self, device: str, command: CommandMessage) -> None:
        self._link.publish(Topics(device, self._prefix).command, encode(command))

    def acknowledge(self, device: str, command_id: str) -> None:
        """The final result is on disk here; the device may stop repeating it."""
        self._link.publish(Topics(device, self._prefix).ack, encode(AckMessage(command_id)))

    def flush(self) -> bool:
        """Whether the broker has everything that was sent."""
        return self._link.flush()

    def _take(self, timeout_s: float) -> tuple[Heard | Gone | Malformed, bool] | None:
        received = self._link.receive(timeout_s)
        if received is None:
            return None
        heard = hear(received)
        self._note(heard, None if received.retained else self._clock.monotonic_ns())
        return heard, not received.retained

    def _note(self, heard: Heard | Gone | Malformed, heard_ns: int | None) -> None:
        if isinstance(heard, Gone):
            self.inventory.forget(heard.device)
        elif isinstance(heard, Malformed):
            if heard.device not in self._complained:
                self._complained.add(heard.device)
                self._tell(f"{heard.device}: ignored a message: {heard.reason}")
        elif isinstance(heard, StatusMessage):
            self.inventory.see_status(heard, heard_ns)
            if heard.state == ONLINE:
                self._news[heard.device] = heard
        elif isinstance(heard, MetricsMessage):
            self.inventory.see_metrics(heard, heard_ns)
        elif isinstance(heard, ResultMessage):
            self._note_late(heard)

    def _note_late(self, result: ResultMessage) -> None:
        if result.id == self.own or result.status not in FINAL_STATUSES:
            return
        if self._store.record_late(result.id, result.device, result.status, result.reason):
            self.acknowledge(result.device, result.id)

    def _link_changed(self, connected: bool) -> None:
        self._tell("the broker is back" if connected else "the connection to the broker is lost; trying again")
