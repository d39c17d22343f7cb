"""Paths to who answers them. What a path means is found once for each head a client sends, not for each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.clock import Clock
from edge_agent.front import predict, repository, tfs
from edge_agent.front.calls import Calls
from edge_agent.front.config_json import model_config, model_metadata
from edge_agent.front.connection import Connection
from edge_agent.front.health import Health, Verdict
from edge_agent.front.http_head import Head, HttpError
from edge_agent.front.http_reply import reply
from edge_agent.front.listeners import Listeners
from edge_agent.front.loop import Loop
from edge_agent.front.metrics import KIND, metrics_text
from edge_agent.front.regions import Regions
from edge_agent.front.rooms import Rooms
from edge_agent.front.shared import Handle
from edge_agent.front.statistics import Statistics
from edge_agent.front.v2 import Infer
from edge_agent.front.v2_request import read_json
from edge_agent.front.welcome import HTML, welcome_page, welcome_tree

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics", "system_shared_memory")
_GET, _POST = ("GET", "HEAD"), ("POST",)


@dataclass(frozen=True, slots=True)
class Server:
    """What the paths lead to. ``predict`` is the model that /predict asks when none is named."""

    name: str
    version: str
    predict: str
    load_allowed: bool
    rooms: Rooms
    calls: Calls
    health: Health
    listeners: Listeners
    loop: Loop
    clock: Clock
    regions: Regions | None


class Router:
    """Call :meth:`route` with a head."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._statistics = Statistics(server.loop, server.clock)

    def route(self, head: Head) -> Handle:
        """Who answers ``head``. What no path leads to is answered with 404, a path's other methods with 405."""
        found = self._find(head.parts)
        if found is None:
            return _refusal(404, f"there is nothing at {head.path[:200]}")
        methods, handle = found
        if head.foreign and head.method not in _GET:
            return _refusal(403, "web pages of other addresses may not ask here; a program that wants to leaves out the header Origin")
        if head.method not in methods:
            allowed = ", ".join(methods)
            return _refusal(405, f"{head.path[:200]} takes {allowed}", b"Allow: %s\r\n" % allowed.encode())
        return handle

    def _find(self, parts: tuple[str, ...]) -> tuple[tuple[str, ...], Handle] | None:
        first = parts[0] if parts else ""
        if not parts:
            return _GET, self._welcome
        if first == "v2":
            return self._v2(parts[1:])
        if first == "v1" and len(parts) >= 3 and parts[1] == "models":
            return self._v1(parts[2:])
        if first == "predict" and len(parts) <= 2:
            model = parts[1] if len(parts) == 2 else ""
            server = self._server
            return _POST, lambda c, body: predict.predict(server.rooms, model, server.predict, c, body)
        if parts == ("metrics",):
            return _GET, self._metrics
        return None

    def _v2(self, parts: tuple[str, ...]) -> tuple[tuple[str, ...], Handle] | None:
        if not parts:
            return _GET, self._metadata
        if parts == ("health", "live"):
            return _GET, lambda c, _: c.json(200, {"live": True})
        if parts == ("health", "ready"):
            return _GET, self._ready
        if parts == ("models", "stats"):
            return _GET, self._all_stats
        if parts[0] == "models" and len(parts) >= 2:
            return self._model(parts[1], parts[2:])
        if parts[0] == "repository":
            return self._repository(parts[1:])
        if parts[0] in ("systemsharedmemory", "cudasharedmemory"):
            return self._shared_memory(parts[0], parts[1:])
        return None

    def _model(self, model: str, rest: tuple[str, ...]) -> tuple[tuple[str, ...], Handle] | None:
        version = ""
        if len(rest) >= 2 and rest[0] == "versions":
            version, rest = rest[1], rest[2:]
        server = self._server
        rooms = server.rooms
        if rest == ("infer",):
            return _POST, Infer(rooms, server.regions, model, version)
        if not rest:
            return _GET, lambda c, _: c.json(200, model_metadata(rooms.find(model, version)[1]))
        if rest == ("config",):
            return _GET, lambda c, _: c.json(200, model_config(rooms.find(model, version)[1]))
        if rest == ("ready",):
            return _GET, lambda c, _: self._model_ready(c, model, version)
        if rest == ("stats",):
            return _GET, lambda c, _: c.json(200, {"model_stats": [self._statistics.of(rooms.known(model))]})
        return None

    def _repository(self, parts: tuple[str, ...]) -> tuple[tuple[str, ...], Handle] | None:
        server = self._server
        if parts == ("index",):
            return _POST, lambda c, body: repository.index(server.rooms, c, body)
        if len(parts) == 3 and parts[0] == "models" and parts[2] in ("load", "unload"):
            model, call = parts[1], parts[2]
            return _POST, lambda c, body: repository.change(server.rooms, server.calls, server.load_allowed, call, model, c, body)
        return None

    def _shared_memory(self, kind: str, parts: tuple[str, ...]) -> tuple[tuple[str, ...], Handle] | None:
        name = None
        if len(parts) == 3 and parts[0] == "region":
            name, parts = parts[1], parts[2:]
        if len(parts) != 1 or parts[0] not in ("status", "register", "unregister"):
            return None
        regions = self._server.regions
        if parts[0] == "status":
            if kind == "cudasharedmemory" or regions is None:
                return _GET, lambda c, _: c.json(200, [])
            return _GET, lambda c, _: c.json(200, regions.status(name))
        if kind == "cudasharedmemory" and parts[0] == "unregister":
            return _POST, lambda c, _: c.json(200, {})  # there is nothing registered: clients tidy up before they begin
        if kind == "cudasharedmemory" or regions is None:
            return _POST, _refusal(400, f"{kind} is not offered here")
        if parts[0] == "unregister":
            return _POST, lambda c, _: _done(c, lambda: regions.unregister(name))
        return _POST, lambda c, body: _done(c, lambda: _register(regions, name, body))

    def _v1(self, parts: tuple[str, ...]) -> tuple[tuple[str, ...], Handle] | None:
        server = self._server
        *front, last = parts
        last, _, verb = last.partition(":")
        words = (*front, last)
        model, version, rest = words[0], "", words[1:]
        if len(rest) >= 2 and rest[0] in ("versions", "labels"):
            version, rest = rest[1] if rest[0] == "versions" else "", rest[2:]
        if verb == "predict" and not rest:
            return _POST, lambda c, body: tfs.predict(server.rooms, model, version, c, body)
        if verb in ("classify", "regress") and not rest:
            return _POST, _refusal(400, f":{verb} is not offered; use :predict")
        if not verb and not rest:
            return _GET, lambda c, _: tfs.status(server.rooms, server.health, model, version, c)
        if not verb and rest == ("metadata",):
            return _GET, lambda c, _: tfs.metadata(server.rooms, model, version, c)
        return None

    def _metadata(self, connection: Connection, _: bytes) -> None:
        server = self._server
        connection.json(200, {"name": server.name, "version": server.version, "extensions": list(EXTENSIONS)})

    def _ready(self, connection: Connection, _: bytes) -> None:
        lanes = [lane for lane in self._server.rooms.lanes.values() if lane.state != "unloaded"]
        self._server.health.ask_all(lanes, _verdict(connection, {}))

    def _model_ready(self, connection: Connection, model: str, version: str) -> None:
        lane = self._server.rooms.known(model)
        if version and lane.served is not None:
            self._server.rooms.find(model, version)
        self._server.health.ask(lane, _verdict(connection, {"name": model}))

    def _all_stats(self, connection: Connection, _: bytes) -> None:
        connection.json(200, {"model_stats": [self._statistics.of(lane) for lane in self._server.rooms.lanes.values()]})

    def _metrics(self, connection: Connection, _: bytes) -> None:
        text = metrics_text(list(self._server.rooms.lanes.values()), self._server.listeners)
        connection.finish(reply(connection.head, 200, text.encode(), KIND))

    def _welcome(self, connection: Connection, _: bytes) -> None:
        server, lanes = self._server, list(self._server.rooms.lanes.values())
        if "text/html" not in connection.head.accept:
            connection.json(200, welcome_tree(server.name, server.version, lanes))
            return
        page = welcome_page(server.name, server.version, lanes, "http://" + (connection.head.host or "localhost"))
        connection.finish(reply(connection.head, 200, page.encode(), HTML))


def _verdict(connection: Connection, tree: Mapping[str, Any]) -> Verdict:
    def tell(ready: bool, why: str) -> None:
        connection.json(200 if ready else 503, {**tree, "ready": ready} if ready else {**tree, "ready": ready, "error": why})

    return tell


def _refusal(status: int, text: str, extra: bytes = b"") -> Handle:
    def refuse(connection: Connection, _: bytes) -> None:
        raise HttpError(status, text, extra=extra)

    return refuse


def _register(regions: Regions, name: str | None, body: bytes) -> None:
    tree = read_json(body)
    if name is None:
        raise HttpError(400, "which region? POST /v2/systemsharedmemory/region/NAME/register")
    regions.register(name, tree.get("key"), tree.get("offset", 0), tree.get("byte_size"))


def _done(connection: Connection, act: Callable[[], None]) -> None:
    act()
    connection.json(200, {})
