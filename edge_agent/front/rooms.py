"""The models of the API by name, and what is said when one is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edge_agent.front.http_head import HttpError
from edge_agent.front.lane import Lane
from edge_agent.front.served import Served


class Rooms:
    """``make`` opens a lane for a model that the engine speaks of."""

    def __init__(self, make: Callable[[str], Lane]) -> None:
        self._make = make
        self.lanes: dict[str, Lane] = {}

    def lane(self, name: str) -> Lane:
        """The lane of ``name``, opened when there is none."""
        if name not in self.lanes:
            self.lanes[name] = self._make(name)
        return self.lanes[name]

    def find(self, name: str, version: str = "") -> tuple[Lane, Served]:
        """Who serves ``name``. Raises HttpError that says why nobody does."""
        lane = self.known(name)
        served = lane.served
        if served is None or lane.absent:
            status = 404 if lane.absent else 503
            extra = b"Retry-After: 1\r\n" if status == 503 else b""
            raise HttpError(status, f"model {name} is not served: {lane.reason or lane.state}", extra=extra)
        if not served.is_called(version):
            raise HttpError(404, f"model {name}: version {version[:80]} is not served, {served.version} is")
        return lane, served

    def known(self, name: str) -> Lane:
        """The lane of a model that the engine knows. Raises HttpError 404."""
        lane = self.lanes.get(name)
        if lane is None:
            raise HttpError(404, f"model {name[:80]} is not found; known are {', '.join(self.lanes) or 'none'}")
        return lane

    def learn(self, models: Iterable[Mapping[str, Any]]) -> None:
        """What the engine knows: name, version, digest, state, reason of each. Who is no longer named is forgotten."""
        named = set()
        for model in models:
            lane = self.lane(model["name"])
            lane.state, lane.reason, lane.version = model["state"], model.get("reason", ""), model.get("version", "")
            named.add(lane.name)
            if lane.absent:
                lane.withdraw()
        for name in [name for name, lane in self.lanes.items() if name not in named and not lane.links]:
            self.lanes.pop(name).withdraw()

    def withdraw(self, name: str) -> None:
        """``name`` is no longer served."""
        lane = self.lanes.get(name)
        if lane is not None:
            lane.state = "unloaded"
            lane.withdraw()
