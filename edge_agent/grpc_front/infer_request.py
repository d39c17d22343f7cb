"""ModelInferRequest to the HTTP API's infer request in its binary form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from edge_agent.grpc_front.contents import packed_contents
from edge_agent.grpc_front.messages import BadMessage, Messages
from edge_agent.grpc_front.refusal import Refusal
from edge_agent.grpc_front.wire import parts_of

MOST_PLANS = 256
LONGEST_KEY_BYTES = 8192
MOST_NAME_CHARACTERS = 1024
MOST_PIECES = 512
"""Buffers that one system call takes (IOV_MAX is 1024)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent before the tensors when they have these ``sizes`` in bytes."""

    head: bytes
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What to send, in pieces, and the id that the answer is to carry, UTF-8."""

    pieces: list[Any]
    identity: bytes


class InferRequests:
    """Translates; remembers what it made of requests that differ in their id and tensors alone. Any thread."""

    def __init__(self, messages: Messages, max_body_bytes: int) -> None:
        self._messages = messages
        self._max_body_bytes = max_body_bytes
        self._plans: dict[bytes, Plan] = {}

    def translate(self, data: bytes) -> InferRequest:
        """Raises Refusal."""
        parts = parts_of(data)
        if parts is not None:
            plan = self._plans.get(parts.key)
            if plan is not None and plan.sizes == tuple(map(len, parts.tensors)):
                return InferRequest(_pieces(plan.head, parts.tensors), parts.identity)
        try:
            message = self._messages.read("ModelInferRequest", data)
        except BadMessage as error:
            raise Refusal("INVALID_ARGUMENT", str(error)) from None
        tensors = _tensors(message)
        head = self._head(message, tensors)
        if parts is not None and parts.tensors and len(parts.key) <= LONGEST_KEY_BYTES:
            self._remember(parts.key, Plan(head, tuple(map(len, parts.tensors))))
        return InferRequest(_pieces(head, [tensor for tensor in tensors if tensor is not None]), message.id.encode())

    def _remember(self, key: bytes, plan: Plan) -> None:
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        self._plans[key] = plan

    def _head(self, message: Any, tensors: Sequence[bytes | None]) -> bytes:
        """The HTTP request up to its tensors."""
        text = json.dumps(infer_tree(message, tensors), separators=(",", ":")).encode()
        length = len(text) + sum(len(tensor) for tensor in tensors if tensor is not None)
        if length > self._max_body_bytes:
            raise Refusal("RESOURCE_EXHAUSTED", f"the request has {length} bytes, at most {self._max_body_bytes} are taken")
        path = model_path(message.model_name, message.model_version)
        return b"POST %b/infer HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%b" % (
            path.encode(),
            len(text),
            length,
            text,
        )


def model_path(name: str, version: str = "") -> str:
    """Where the HTTP API has a model. Raises Refusal for a name that is none."""
    if not name or max(len(name), len(version)) > MOST_NAME_CHARACTERS:
        raise Refusal("INVALID_ARGUMENT", f"the model's name must have 1 to {MOST_NAME_CHARACTERS} characters, it has {len(name)}")
    path = f"/v2/models/{quote(name, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def infer_tree(message: Any, tensors: Sequence[bytes | None]) -> dict[str, Any]:
    """The JSON of the request; ``tensors`` are the bytes of its inputs, ``None`` for those in shared memory. The id stays here."""
    inputs = []
    for tensor, data in zip(message.inputs, tensors, strict=True):
        parameters = parameter_tree(tensor.parameters)
        if data is not None:
            parameters["binary_data_size"] = len(data)
        inputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape), "parameters": parameters})
    tree: dict[str, Any] = {"parameters": {**parameter_tree(message.parameters), "binary_data_output": True}, "inputs": inputs}
    if message.outputs:
        tree["outputs"] = [
            {"name": one.name, "parameters": {**parameter_tree(one.parameters), "binary_data": True}} for one in message.outputs
        ]
    return tree


def parameter_tree(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A map of InferParameter as JSON, in the order of the names: the same parameters give the same bytes."""
    tree = {}
    for name in sorted(parameters):
        chosen = parameters[name].WhichOneof("parameter_choice")
        if chosen is not None:
            tree[name] = getattr(parameters[name], chosen)
    return tree


def _tensors(message: Any) -> list[bytes | None]:
    """The bytes of each input, ``None`` for one in shared memory. Raises Refusal."""
    apart = ["shared_memory_region" in tensor.parameters for tensor in message.inputs]
    raw = message.raw_input_contents
    if not raw:
        return [None if one else packed_contents(tensor) for one, tensor in zip(apart, message.inputs, strict=True)]
    if any(tensor.HasField("contents") for tensor in message.inputs):
        raise Refusal("INVALID_ARGUMENT", "raw_input_contents is there, so no input may have contents: one way for all")
    if len(raw) != apart.count(False):
        raise Refusal("INVALID_ARGUMENT", f"raw_input_contents has {len(raw)} entries, {apart.count(False)} inputs need one")
    left = iter(raw)
    return [None if one else next(left) for one in apart]


def _pieces(head: bytes, tensors: Sequence[Any]) -> list[Any]:
    return [head, *tensors] if len(tensors) < MOST_PIECES else [head, b"".join(tensors)]
