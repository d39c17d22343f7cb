"""What the fleet side knows of each device: its last status, its last metrics, and when it was last heard. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edge_agent.protocol.messages import MetricsMessage, ModelEntry, StatusMessage

ONLINE = "online"
OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Device:
    """One device. ``status`` is the last that said who it is (a last will says only that it is gone).

    ``heard_ns`` is the monotonic time of the last message it sent itself; ``None`` when only retained messages are known.
    """

    id: str
    state: str
    status: StatusMessage
    metrics: MetricsMessage | None = None
    heard_ns: int | None = None

    @property
    def online(self) -> bool:
        return self.state == ONLINE

    def model(self, name: str) -> ModelEntry | None:
        """What the device last said of model ``name``."""
        return next((entry for entry in self.status.models if entry.name == name), None)


class Inventory:
    """Devices by id. Statuses and metrics go in, devices come out."""

    def __init__(self, known: Iterable[Device] = ()) -> None:
        self._devices = {device.id: device for device in known}

    def see_status(self, message: StatusMessage, heard_ns: int | None) -> Device:
        """``heard_ns`` is ``None`` for a retained message, which may be old."""
        old = self._devices.get(message.device)
        if message.state == OFFLINE and old is not None:
            device = replace(old, state=OFFLINE)
        else:
            device = Device(
                message.device, message.state, message, old.metrics if old else None, heard_ns or (old.heard_ns if old else None)
            )
        self._devices[device.id] = device
        return device

    def see_metrics(self, message: MetricsMessage, heard_ns: int | None) -> Device:
        old = self._devices.get(message.device)
        status = old.status if old else StatusMessage(message.device, ONLINE)
        device = Device(message.device, old.state if old else ONLINE, status, message, heard_ns or (old.heard_ns if old else None))
        self._devices[device.id] = device
        return device

    def get(self, device_id: str) -> Device | None:
        return self._devices.get(device_id)

    def devices(self) -> tuple[Device, ...]:
        """All of them, by id."""
        return tuple(self._devices[name] for name in sorted(self._devices))
