"""An inference asked for by a protocol that works on arrays: named arrays in, arrays out, then whatever the protocol makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.front.connection import Connection
from edge_agent.front.exchange import Exchange, Shape, input_plan
from edge_agent.front.http_head import HttpError
from edge_agent.front.lane import Lane
from edge_agent.front.served import Served
from edge_agent.front.v2_tensors import array_of, check_size


@dataclass(frozen=True, slots=True)
class ArrayAnswer:
    """``tell(connection, served, arrays by output name)`` answers the client; ``fail`` does when the model did not."""

    tell: Callable[[Connection, Served, dict[str, Any]], None]

    def done(self, exchange: Exchange, values: Sequence[Any], shapes: Sequence[Shape]) -> None:
        served, connection = exchange.plan.served, exchange.client
        try:
            places = served.layout.outputs
            arrays = {p.name: array_of(p, value, shape) for p, value, shape in zip(places, values, shapes, strict=True)}
            self.tell(connection, served, arrays)
        except HttpError as error:
            connection.error(error.status, error.text)
        except Exception as bug:
            connection.stumbled(bug)

    def failed(self, exchange: Exchange, status: int, text: str, extra: bytes = b"") -> None:
        exchange.client.error(status, text, extra)


def submit_arrays(
    lane: Lane,
    served: Served,
    arrays: Mapping[str, Any],
    connection: Connection,
    tell: Callable[[Connection, Served, dict[str, Any]], None],
) -> None:
    """Ask ``lane`` with ``arrays``, which have the model's dtypes and shapes. Raises HttpError 400 where one is too large.

    Every request is a stream of its own: the state of a model that has one is the initial one, unless ``arrays`` hold it.
    """
    arrays = {**served.initial(), **arrays}
    places = [served.inputs[name] for name in arrays]
    shapes = [tuple(array.shape) for array in arrays.values()]
    buffers = [array.tobytes() for array in arrays.values()]
    for place, shape, buffer in zip(places, shapes, buffers, strict=True):
        check_size(place, shape, len(buffer))
    plan = input_plan(served, places, shapes, [len(buffer) for buffer in buffers])
    lane.submit(Exchange(ArrayAnswer(tell), plan, b"", 0, buffers, connection))
