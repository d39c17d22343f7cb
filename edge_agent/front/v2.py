"""POST /v2/models/M[/versions/V]/infer: the way of most requests.

A client that asks for the same again and again sends the same JSON before its tensors, but for the id. What was understood of it
the first time is kept by those bytes, so that a repeated request is not parsed at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_agent.front.connection import Connection
from edge_agent.front.exchange import Exchange, InputPlan
from edge_agent.front.http_head import HttpError
from edge_agent.front.lane import Lane
from edge_agent.front.regions import Regions
from edge_agent.front.rooms import Rooms
from edge_agent.front.served import Served
from edge_agent.front.v2_answer import V2Answer, json_identity
from edge_agent.front.v2_request import Parsed, parse_infer, parse_raw

LONGEST_KEPT_JSON_BYTES = 8192
_ID_FIRST = re.compile(rb'\{ ?"id": ?"([ !#-\[\]-~]*)",')


@dataclass(frozen=True, slots=True)
class Known:
    """What a request with the same JSON means: ``tail_bytes`` of tensors follow it."""

    plan: InputPlan
    answer: V2Answer
    tail_bytes: int


class Infer:
    """Answers infer requests for one model and version, as a path names them."""

    def __init__(self, rooms: Rooms, regions: Regions | None, model: str, version: str) -> None:
        self._rooms = rooms
        self._regions = regions
        self._model = model
        self._version = version

    def __call__(self, connection: Connection, body: bytes) -> None:
        lane = self._rooms.lanes.get(self._model)
        if lane is None or (served := lane.served) is None or (self._version and not served.is_called(self._version)):
            lane, served = self._rooms.find(self._model, self._version)
        length = connection.head.json_length
        if 0 < length <= LONGEST_KEPT_JSON_BYTES:
            match = _ID_FIRST.match(body, 0, length)
            if match is not None:
                identity, key = match[1], bytes(body[match.end() - 1 : length])
            else:
                identity, key = b"", bytes(body[:length])
            known = served.plans.get(key)
            if known is not None and known.tail_bytes == len(body) - length:
                lane.submit(Exchange(known.answer, known.plan, body, length, None, connection, identity))
                return
            self._parse(connection, lane, served, body, length, key)
        else:
            self._parse(connection, lane, served, body, length, b"")

    def _parse(self, connection: Connection, lane: Lane, served: Served, body: bytes, length: int, key: bytes) -> None:
        """The long way. Remembers what it found when that may come again."""
        parsed, at = self._understood(served, body, length)
        answer = V2Answer(served, parsed.wanted, self._regions)
        apart = parsed.identity is None or key.startswith(b",")  # else the id is part of the key, and would not come back
        if key and apart and parsed.buffers is None and not any(one.region for one in parsed.wanted):
            served.remember(key, Known(parsed.plan, answer, parsed.plan.total_bytes))
        exchange = Exchange(answer, parsed.plan, body, at, parsed.buffers, connection, json_identity(parsed.identity))
        lane.submit(exchange)

    def _understood(self, served: Served, body: bytes, length: int) -> tuple[Parsed, int]:
        """The request, and where its tensors begin."""
        view = memoryview(body)
        if length == 0:
            return parse_raw(served, view), 0
        if length > len(body):
            raise HttpError(400, f"Inference-Header-Content-Length is {length}, the body has {len(body)} bytes")
        end = length if length > 0 else len(body)
        return parse_infer(served, bytes(view[:end]), view[end:], self._regions), end
