"""What the fleet side knows of each device: its last status, its last metrics, and when it was last heard. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    """Devices by id. Statuses and metrics go in, devices come out.

    ``remembered`` is what devices said of themselves in earlier times: a last will says only that a device is gone, and its profile and
    labels are still wanted. It adds nobody who is not known to the broker.
    """

    def __init__(self, remembered: Mapping[str, StatusMessage] | None = None) -> None:
        self._remembered = dict(remembered or {})
        self._devices: dict[str, Device] = {}

    def see_status(self, message: StatusMessage, heard_ns: int | None) -> Device:
        """``heard_ns`` is ``None`` for a retained message, which may be old."""
        old = self._devices.get(message.device)
        if message.state == OFFLINE:
            message = old.status if old else self._remembered.get(message.device, message)
            return self._put(Device(message.device, OFFLINE, message, old.metrics if old else None, old.heard_ns if old else None))
        return self._put(Device(message.device, message.state, message, old.metrics if old else None, _later(old, heard_ns)))

    def see_metrics(self, message: MetricsMessage, heard_ns: int | None) -> Device:
        old = self._devices.get(message.device)
        status = old.status if old else self._remembered.get(message.device, StatusMessage(message.device, ONLINE))
        return self._put(Device(message.device, old.state if old else ONLINE, status, message, _later(old, heard_ns)))

    def forget(self, device_id: str) -> None:
        """Its retained status was removed from the broker: it is no longer part of the fleet."""
        self._devices.pop(device_id, None)

    def get(self, device_id: str) -> Device | None:
        return self._devices.get(device_id)

    def devices(self) -> tuple[Device, ...]:
        """All of them, by id."""
        return tuple(self._devices[name] for name in sorted(self._devices))

    def _put(self, device: Device) -> Device:
        self._devices[device.id] = device
        return device


def _later(old: Device | None, heard_ns: int | None) -> int | None:
    return heard_ns if heard_ns is not None or old is None else old.heard_ns
