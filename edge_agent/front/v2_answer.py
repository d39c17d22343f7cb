"""Answers of the Open Inference Protocol: a model's outputs to JSON, to the binary extension, or to both in one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edge_agent.front.connection import Connection
from edge_agent.front.datatypes import V2_OF
from edge_agent.front.exchange import Exchange, Shape
from edge_agent.front.http_head import HttpError
from edge_agent.front.http_reply import JSON, reply
from edge_agent.front.regions import Regions
from edge_agent.front.served import Served
from edge_agent.front.v2_request import Wanted
from edge_agent.front.v2_tensors import listed
from edge_agent.inference.layout import Place

JOIN_BYTES = 64 << 10
"""Answers up to this size are joined into one piece before they are sent."""


class V2Answer:
    """Writes answers of ``served`` with the outputs ``wanted``. Used for every request that asks for the same.

    Where all that is wanted is binary and of fixed shape, everything but the tensors and the id is made once.
    """

    def __init__(self, served: Served, wanted: tuple[Wanted, ...], regions: Regions | None) -> None:
        self._served = served
        self._wanted = wanted
        self._regions = regions
        order = {place.name: index for index, place in enumerate(served.layout.outputs)}
        if any(one.name not in order for one in wanted):
            raise HttpError(400, f"model {served.model}: version {served.version} serves now, and does not give the outputs asked for")
        self._picked = [order[one.name] for one in wanted]
        self._places = [served.layout.outputs[index] for index in self._picked]
        self._any_binary = any(one.binary and one.region is None for one in wanted)
        self._in_order = self._picked == list(range(len(served.layout.outputs)))
        self._start = f'"model_name":{json.dumps(served.model)},"model_version":{json.dumps(served.version)},"outputs":['.encode()
        self._fixed = all(place.shape is not None for place in self._places) and all(one.binary and one.region is None for one in wanted)
        self._data_bytes = sum(place.capacity_bytes for place in self._places)
        self._rest = self._static() if self._fixed else b""
        self._plain_head = self._head_of(b"") if self._fixed else b""

    def done(self, exchange: Exchange, values: Sequence[Any], shapes: Sequence[Shape]) -> None:
        connection: Connection = exchange.client
        served = exchange.plan.served
        try:
            if served is not self._served:
                V2Answer(served, self._wanted, self._regions).done(exchange, values, shapes)
            elif self._fixed:
                self._send_fixed(connection, exchange.identity, values)
            else:
                self._send(connection, exchange.identity, values, shapes)
        except HttpError as error:
            connection.error(error.status, error.text)
        except Exception as bug:
            connection.stumbled(bug)

    def failed(self, exchange: Exchange, status: int, text: str, extra: bytes = b"") -> None:
        exchange.client.error(status, text, extra)

    def _send_fixed(self, connection: Connection, identity: bytes, values: Sequence[Any]) -> None:
        head = self._head_of(identity, connection.head.closing) if identity or connection.head.closing else self._plain_head
        picked = values if self._in_order else [values[index] for index in self._picked]
        if self._data_bytes <= JOIN_BYTES:
            connection.finish(b"".join((head, *picked)))
        else:
            connection.finish_views(head, list(picked))

    def _static(self) -> bytes:
        """The JSON after the id."""
        outputs = [self._output(place, place.shape or (), place.capacity_bytes) for place in self._places]
        return self._start + ",".join(json.dumps(output, separators=(",", ":")) for output in outputs).encode() + b"]}"

    def _head_of(self, identity: bytes, closing: bytes = b"") -> bytes:
        """Everything before the tensors; ``identity`` is JSON text without its quotes."""
        text = b'{"id":"%b",%b' % (identity, self._rest) if identity else b"{" + self._rest
        return _BINARY_HEAD % (len(text), len(text) + self._data_bytes, closing, text)

    def _output(self, place: Place, shape: Shape, binary_bytes: int | None) -> dict[str, Any]:
        output: dict[str, Any] = {"name": place.name, "datatype": V2_OF[place.dtype], "shape": list(shape)}
        if binary_bytes is not None:
            output["parameters"] = {"binary_data_size": binary_bytes}
        return output

    def _send(self, connection: Connection, identity: bytes, values: Sequence[Any], shapes: Sequence[Shape]) -> None:
        outputs, tail = [], []
        for one, index, place in zip(self._wanted, self._picked, self._places, strict=True):
            value, shape = values[index], shapes[index]
            if one.region is not None:
                outputs.append(self._to_region(one, place, value, shape))
            elif one.binary:
                outputs.append(self._output(place, shape, len(value)))
                tail.append(value)
            else:
                outputs.append({**self._output(place, shape, None), "data": listed(place, value)})
        body = b'{"id":"%b",' % identity if identity else b"{"
        body += self._start + ",".join(json.dumps(output, separators=(",", ":")) for output in outputs).encode() + b"]}"
        if self._any_binary:
            data = b"".join(tail)
            connection.finish(_BINARY_HEAD % (len(body), len(body) + len(data), connection.head.closing, body) + data)
        else:
            connection.finish(reply(connection.head, 200, body, JSON))

    def _to_region(self, one: Wanted, place: Place, value: Any, shape: Shape) -> dict[str, Any]:
        assert one.region is not None and self._regions is not None
        name, offset, room = one.region
        if len(value) > room:
            raise HttpError(400, f"output {place.name}: has {len(value)} bytes, the shared memory offered has {room}")
        self._regions.write(name, offset, value)
        # Triton says no more either: NVIDIA's C++ client takes any parameters to hold binary_data_size, and fails without it.
        return self._output(place, shape, None)


_BINARY_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n%b\r\n%b"
)


def json_identity(identity: str | None) -> bytes:
    """An id as JSON text without its quotes."""
    return json.dumps(identity)[1:-1].encode() if identity else b""
