"""From a received MQTT message to a typed one, or to the reason it is none. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.errors import CommandError
from edge_agent.protocol.codec import decode
from edge_agent.protocol.messages import EventMessage, MetricsMessage, ResultMessage, StatusMessage
from edge_agent.protocol.topics import ParsedTopic

Heard = StatusMessage | MetricsMessage | EventMessage | ResultMessage
KINDS: dict[str, type[Heard]] = {"status": StatusMessage, "metrics": MetricsMessage, "events": EventMessage, "result": ResultMessage}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as the broker gave it. ``retained``: it may be old."""

    topic: ParsedTopic
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """The retained status of ``device`` was removed."""

    device: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is not what its topic says, and why."""

    device: str
    reason: str


def hear(received: Received) -> Heard | Gone | Malformed:
    """The message in ``received``, its kind taken from the topic. A device may speak only for itself."""
    device, kind = received.topic.device, received.topic.kind
    if kind == "status" and not received.payload:
        return Gone(device)
    cls = KINDS.get(kind)
    if cls is None:
        return Malformed(device, f"a {kind} message is not for the fleet")
    try:
        message = decode(cls, received.payload)
    except CommandError as error:
        return Malformed(device, f"{kind}: {error}")
    if message.device != device:
        return Malformed(device, f"{kind}: claims to come from {message.device!r}")
    return message
