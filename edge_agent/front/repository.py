"""Triton's model repository calls: what is known, load, unload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.front.calls import Calls
from edge_agent.front.connection import Connection
from edge_agent.front.http_head import HttpError
from edge_agent.front.lane import Lane
from edge_agent.front.rooms import Rooms
from edge_agent.front.v2_request import read_json

_STATES: Mapping[str, str] = {"serving": "READY", "starting": "LOADING", "restarting": "LOADING"}


def index(rooms: Rooms, connection: Connection, body: bytes) -> None:
    """All models, or with ``{"ready": true}`` those that serve."""
    only_ready = bool(body.strip()) and read_json(body).get("ready") is True
    entries = [_entry(lane) for lane in rooms.lanes.values()]
    connection.json(200, [entry for entry in entries if entry["state"] == "READY" or not only_ready])


def change(rooms: Rooms, calls: Calls, allowed: bool, call: str, model: str, connection: Connection, body: bytes) -> None:
    """``load`` or ``unload``. The engine does it; what it loads is what is installed, a client cannot send a model here."""
    if not allowed:
        raise HttpError(403, f"{call} is not allowed here: set load = true for the local API")
    parameters = read_json(body).get("parameters") if body.strip() else None
    if isinstance(parameters, dict) and any(key == "config" or key.startswith("file:") for key in parameters):
        raise HttpError(400, "a model cannot be sent this way: install it as a bundle, then load it by name")

    def tell(error: str) -> None:
        if error:
            connection.error(400, f"failed to {call} {model}: {error}")
        else:
            connection.json(200, {})

    calls.ask(call, model, tell)


def _entry(lane: Lane) -> dict[str, Any]:
    served = lane.served
    ready = served is not None and bool(lane.links)
    return {
        "name": lane.name,
        "version": served.version if served is not None else lane.version,
        "state": "READY" if ready else _STATES.get(lane.state, "UNAVAILABLE").replace("READY", "LOADING"),
        "reason": lane.reason,
    }
