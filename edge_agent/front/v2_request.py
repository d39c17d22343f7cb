"""An infer request of the Open Inference Protocol: its JSON, with the binary extension, to what a link is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.front.exchange import InputPlan, input_plan
from edge_agent.front.http_head import HttpError
from edge_agent.front.regions import Regions
from edge_agent.front.served import JSON_BYTES, Served
from edge_agent.front.v2_tensors import check_datatype, check_size, checked_shape, packed
from edge_agent.inference.layout import Place
from edge_agent.values import TensorSpec


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output that the client wants: in binary or as JSON, or written to a shared-memory region (name, offset, bytes)."""

    name: str
    binary: bool
    region: tuple[str, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A request that was understood. ``buffers`` is ``None`` when the tensors follow the JSON end to end; such a request can be
    recognized by its JSON the next time. ``wanted`` keeps the client's order."""

    plan: InputPlan
    buffers: tuple[Any, ...] | None
    wanted: tuple[Wanted, ...]
    identity: str | None


def check_length(size: int, most_bytes: int) -> None:
    """Raises HttpError 413 for text of ``size`` bytes that is not worth parsing."""
    if size > most_bytes:
        raise HttpError(413, f"the JSON or text has {size} bytes, at most {most_bytes} are taken here; large tensors go to /v2 in binary")


def read_json(text: bytes, most_bytes: int = JSON_BYTES) -> dict[str, Any]:
    """The JSON object in ``text``. Raises HttpError 400, and 413 for more than ``most_bytes``."""
    check_length(len(text), most_bytes)
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"the body is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise HttpError(400, "the body must be a JSON object")
    return tree


def parse_infer(served: Served, text: bytes, tail: memoryview, regions: Regions | None) -> Parsed:
    """``text`` is the JSON, ``tail`` what follows it. Raises HttpError 400 naming what is wrong."""
    tree = read_json(text, served.most_json_bytes())
    identity = tree.get("id")
    if identity is not None and not isinstance(identity, str):
        raise HttpError(400, "id must be text")
    plan, buffers = _Inputs(served, tail, regions).read(tree)
    return Parsed(plan, buffers, wanted_outputs(served, tree, regions), identity)


def parse_raw(served: Served, body: memoryview) -> Parsed:
    """A raw binary request: the whole body is the only input; all outputs come back binary."""
    if len(served.manifest.inputs) != 1:
        raise HttpError(400, f"a body without JSON is for models with one input, this one has {len(served.manifest.inputs)}")
    spec = served.manifest.inputs[0]
    place = served.inputs[spec.name]
    shape = _shape_for(spec, len(body))
    check_size(place, shape, len(body))
    wanted = tuple(Wanted(output.name, True) for output in served.manifest.outputs)
    return Parsed(input_plan(served, [place], [shape], [len(body)]), None, wanted, None)


def _shape_for(spec: TensorSpec, size: int) -> tuple[int, ...]:
    """The shape that ``size`` bytes have; at most one dimension may be free."""
    free = [index for index, dim in enumerate(spec.shape) if dim is None]
    if len(free) > 1:
        raise HttpError(400, f"input {spec.name}: has several free dimensions, a body without JSON cannot say them")
    shape = [1 if dim is None else dim for dim in spec.shape]
    if free:
        shape[free[0]] = size // (spec.bytes_for(1) or 1)
    return tuple(shape)


class _Inputs:
    """Reads ``inputs`` one by one, keeping account of the binary tail."""

    def __init__(self, served: Served, tail: memoryview, regions: Regions | None) -> None:
        self._served = served
        self._specs = {spec.name: spec for spec in served.manifest.inputs}
        self._tail = tail
        self._regions = regions
        self._at = 0
        self._all_binary = True
        self._places: list[Place] = []
        self._shapes: list[tuple[int, ...]] = []
        self._buffers: list[Any] = []

    def read(self, tree: Mapping[str, Any]) -> tuple[InputPlan, tuple[Any, ...] | None]:
        inputs = tree.get("inputs")
        if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
            raise HttpError(400, "inputs must be a list of objects with name, shape, datatype and data")
        for item in inputs:
            self._one(item)
        self._complete()
        if self._at != len(self._tail):
            raise HttpError(400, f"{len(self._tail)} bytes follow the JSON, the inputs account for {self._at}")
        plan = input_plan(self._served, self._places, self._shapes, [len(buffer) for buffer in self._buffers])
        return plan, None if self._all_binary else tuple(self._buffers)

    def _complete(self) -> None:
        """State that the client leaves out is the initial one; of the other inputs none may be missing."""
        given, initial = {place.name for place in self._places}, self._served.initial()
        for name in self._specs:
            if name in given:
                continue
            if name not in initial:
                raise HttpError(400, f"input {name}: is missing; the model takes {', '.join(self._specs)}")
            self._all_binary = False
            self._places.append(self._served.inputs[name])
            self._shapes.append(initial[name].shape)
            self._buffers.append(initial[name].tobytes())

    def _one(self, item: Mapping[str, Any]) -> None:
        name = item.get("name")
        spec = self._specs.get(name) if isinstance(name, str) else None
        if spec is None:
            raise HttpError(400, f"input {str(name)[:80]}: the model has no such input; it takes {', '.join(self._specs)}")
        place = self._served.inputs[spec.name]
        if place in self._places:
            raise HttpError(400, f"input {name}: is given twice")
        check_datatype(spec.name, item.get("datatype"), spec.dtype)
        shape = checked_shape(spec.name, item.get("shape"), spec.shape)
        buffer = self._data(item, place, shape)
        check_size(place, shape, len(buffer))
        self._places.append(place)
        self._shapes.append(shape)
        self._buffers.append(buffer)

    def _data(self, item: Mapping[str, Any], place: Place, shape: tuple[int, ...]) -> Any:
        parameters = item.get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        size = parameters.get("binary_data_size")
        if "shared_memory_region" in parameters:
            self._all_binary = False
            return _region(parameters, self._regions, f"input {place.name}")
        if size is None:
            self._all_binary = False
            if "data" not in item:
                raise HttpError(400, f"input {place.name}: has neither data nor parameters.binary_data_size")
            return packed(place, item["data"], shape)
        if "data" in item:
            raise HttpError(400, f"input {place.name}: has both data and parameters.binary_data_size")
        return self._binary(place, size)

    def _binary(self, place: Place, size: Any) -> memoryview:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise HttpError(400, f"input {place.name}: binary_data_size must be a whole number")
        left = len(self._tail) - self._at
        if size > left:
            raise HttpError(400, f"input {place.name}: binary_data_size is {size}, {left} bytes are left after the JSON")
        buffer = self._tail[self._at : self._at + size]
        self._at += size
        return buffer


def _region(parameters: Mapping[str, Any], regions: Regions | None, what: str) -> bytes:
    if regions is None:
        raise HttpError(400, f"{what}: shared memory is not offered here")
    name, offset, size = _span(parameters, what)
    return regions.read(name, offset, size)


def _span(parameters: Mapping[str, Any], what: str) -> tuple[str, int, int]:
    name, offset, size = (parameters.get(f"shared_memory_{key}") for key in ("region", "offset", "byte_size"))
    offset = 0 if offset is None else offset
    if not isinstance(name, str) or not _whole(offset) or not _whole(size):
        raise HttpError(400, f"{what}: shared_memory_region needs a name, shared_memory_byte_size and shared_memory_offset whole numbers")
    return name, offset, size  # type: ignore[return-value]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def wanted_outputs(served: Served, tree: Mapping[str, Any], regions: Regions | None) -> tuple[Wanted, ...]:
    """The outputs that ``tree`` asks for; all of them when it names none."""
    parameters = tree.get("parameters")
    binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    outputs = tree.get("outputs")
    if not outputs and (outputs is None or isinstance(outputs, list)):
        return tuple(Wanted(spec.name, binary) for spec in served.manifest.outputs)
    if not isinstance(outputs, list) or not all(isinstance(item, dict) for item in outputs):
        raise HttpError(400, "outputs must be a list of objects with a name")
    wanted = tuple(_wanted(served, item, binary, regions) for item in outputs)
    if len({one.name for one in wanted}) != len(wanted):
        raise HttpError(400, "outputs names one twice")
    return wanted


def _wanted(served: Served, item: Mapping[str, Any], binary: bool, regions: Regions | None) -> Wanted:
    name = item.get("name")
    if not isinstance(name, str) or name not in served.outputs:
        raise HttpError(400, f"output {str(name)[:80]}: the model has no such output; it gives {', '.join(served.outputs)}")
    parameters = item.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    if parameters.get("classification"):
        raise HttpError(400, f"output {name}: classification is not offered; POST /predict/{served.model} gives labels")
    if "shared_memory_region" in parameters:
        if regions is None:
            raise HttpError(400, f"output {name}: shared memory is not offered here")
        span = _span(parameters, f"output {name}")
        regions.check(*span)
        return Wanted(name, True, span)
    own = parameters.get("binary_data")
    return Wanted(name, own if isinstance(own, bool) else binary)
