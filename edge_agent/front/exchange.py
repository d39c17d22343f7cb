"""One inference on its way: what is asked, of whom, since when, and who wants the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from edge_agent.front.served import Served
from edge_agent.inference.layout import Place
from edge_agent.runtimes.tensors import fits

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InputPlan:
    """Where the tensors of a request go. ``places`` and ``shapes`` run in the order of the request's tensors.

    ``copies`` are (offset in a slot, bytes); ``free`` are (offset of the shape, shape) for tensors with free dimensions.
    """

    served: Served
    places: tuple[Place, ...]
    shapes: tuple[Shape, ...]
    copies: tuple[tuple[int, int], ...]
    free: tuple[tuple[int, Shape], ...]
    total_bytes: int


class Answerer(Protocol):
    """Who wants the answer. ``values`` are the outputs in the manifest's order, readable until the call returns; ``shapes`` theirs."""

    def done(self, exchange: Exchange, values: Sequence[Any], shapes: Sequence[Shape]) -> None: ...

    def failed(self, exchange: Exchange, status: int, text: str, extra: bytes = b"") -> None: ...


class Nobody:
    """Takes answers that nobody waits for any more."""

    def done(self, exchange: Exchange, values: Sequence[Any], shapes: Sequence[Shape]) -> None:
        pass

    def failed(self, exchange: Exchange, status: int, text: str, extra: bytes = b"") -> None:
        pass


NOBODY = Nobody()


class Exchange:
    """``body`` from ``at`` holds the tensors end to end, unless ``buffers`` names one buffer for each.

    ``killed`` counts workers that died or hung while they worked on it. ``client`` and ``identity`` are the answerer's own.
    """

    __slots__ = (
        "answerer",
        "arrived_ns",
        "asked_ns",
        "at",
        "body",
        "buffers",
        "canary",
        "client",
        "deadline_ns",
        "identity",
        "killed",
        "number",
        "plan",
    )

    def __init__(
        self,
        answerer: Answerer,
        plan: InputPlan,
        body: bytes,
        at: int,
        buffers: Sequence[Any] | None = None,
        client: Any = None,
        identity: bytes = b"",
    ) -> None:
        self.answerer = answerer
        self.plan = plan
        self.body = body
        self.at = at
        self.buffers = buffers
        self.client = client
        self.identity = identity
        self.arrived_ns = 0
        self.asked_ns = 0
        self.deadline_ns = 0
        self.number = -1
        self.killed = 0
        self.canary = False

    def pieces(self) -> Sequence[Any]:
        """The tensors' bytes, in the plan's order."""
        if self.buffers is not None:
            return self.buffers
        pieces, at = [], self.at
        view = memoryview(self.body)
        for _, size in self.plan.copies:
            pieces.append(view[at : at + size])
            at += size
        return pieces

    def fingerprint(self) -> bytes:
        """The same for the same tensors, whatever they were wrapped in."""
        digest = blake2b(digest_size=16)
        for place, shape, piece in zip(self.plan.places, self.plan.shapes, self.pieces(), strict=True):
            digest.update(f"{place.name}{shape}".encode())
            digest.update(piece)
        return digest.digest()


def input_plan(served: Served, places: Sequence[Place], shapes: Sequence[Shape], sizes: Sequence[int]) -> InputPlan:
    """The plan for tensors of known places, concrete shapes and sizes in bytes."""
    copies = tuple((place.offset, size) for place, size in zip(places, sizes, strict=True))
    free = tuple((place.shape_offset, shape) for place, shape in zip(places, shapes, strict=True) if place.shape is None)
    return InputPlan(served, tuple(places), tuple(shapes), copies, free, sum(sizes))


def replanned(plan: InputPlan, served: Served) -> InputPlan | None:
    """``plan`` for another version of the model, ``None`` when that takes other inputs."""
    places = []
    for old, shape in zip(plan.places, plan.shapes, strict=True):
        place = served.inputs.get(old.name)
        spec = next((spec for spec in served.manifest.inputs if spec.name == old.name), None)
        if place is None or spec is None or place.dtype != old.dtype or not fits(shape, spec.shape):
            return None
        places.append(place)
    if len(places) != len(served.inputs):
        return None
    return input_plan(served, places, plan.shapes, [size for _, size in plan.copies])
