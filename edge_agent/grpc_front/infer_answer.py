"""The HTTP API's answer to an infer request, in its binary form, to ModelInferResponse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.grpc_front.messages import Messages
from edge_agent.grpc_front.refusal import Refusal
from edge_agent.grpc_front.wire import id_field, tensor_fields

MOST_FORMS = 256
LONGEST_KEPT_JSON_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Form:
    """A ModelInferResponse without its id and tensors, and the tensors' sizes in bytes; 0 for one that lies in shared memory."""

    message: bytes
    sizes: tuple[int, ...]


class InferAnswers:
    """Translates; remembers what it made of answers that differ in their tensors alone. Any thread."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._forms: dict[bytes, Form] = {}

    def translate(self, body: bytes, json_bytes: int, identity: bytes) -> bytes:
        """``json_bytes`` of ``body`` are JSON, or all of it when -1; ``identity`` is the request's id, UTF-8. Raises Refusal."""
        at = json_bytes if json_bytes >= 0 else len(body)
        text = bytes(body[:at])
        form = self._forms.get(text)
        if form is None:
            form = self._understood(text)
        end = at + sum(form.sizes)
        if end != len(body):
            raise Refusal("INTERNAL", f"the API's answer has {len(body)} bytes, its JSON accounts for {end}")
        view, tensors = memoryview(body), []
        for size in form.sizes:
            tensors.append(view[at : at + size])
            at += size
        return b"".join((form.message, id_field(identity), *tensor_fields(tensors)))

    def _understood(self, text: bytes) -> Form:
        try:
            tree = json.loads(text)
            form = self._form(tree)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refusal("INTERNAL", f"the API's answer is not understood: {type(error).__name__}: {error}") from None
        if len(text) <= LONGEST_KEPT_JSON_BYTES:
            if len(self._forms) >= MOST_FORMS:
                self._forms.clear()
            self._forms[text] = form
        return form

    def _form(self, tree: Mapping[str, Any]) -> Form:
        message = self._messages.of("ModelInferResponse")(model_name=tree["model_name"], model_version=tree.get("model_version", ""))
        _fill(message.parameters, tree.get("parameters", {}))
        sizes = []
        for output in tree["outputs"]:
            parameters = dict(output.get("parameters", {}))
            sizes.append(_size(output, parameters))
            tensor = message.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
            _fill(tensor.parameters, parameters)
        return Form(message.SerializeToString(deterministic=True), tuple(sizes))


def _size(output: Mapping[str, Any], parameters: dict[str, Any]) -> int:
    """Takes the size out of ``parameters``: a client finds it as the length of its tensor. One without lies in shared memory."""
    size = parameters.pop("binary_data_size", 0)
    if "data" in output or not isinstance(size, int) or size < 0:
        raise ValueError(f"output {output['name']} is not in binary")
    return size


def _fill(parameters: Any, tree: Mapping[str, Any]) -> None:
    """JSON to a map of InferParameter; what no parameter can hold is left out."""
    for name, value in tree.items():
        if isinstance(value, bool):
            parameters[name].bool_param = value
        elif isinstance(value, int):
            parameters[name].int64_param = value
        elif isinstance(value, float):
            parameters[name].double_param = value
        elif isinstance(value, str):
            parameters[name].string_param = value
