"""The calls beside inference: each is one request to the HTTP API."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from edge_agent.grpc_front.api import Api, Call
from edge_agent.grpc_front.infer_request import model_path
from edge_agent.grpc_front.refusal import Refusal

Carried = Callable[[Any, Call], Mapping[str, Any]]
"""Takes the request's message; gives the answer's as JSON. Raises Refusal."""

_NOT_READY = ("UNAVAILABLE", "NOT_FOUND", "DEADLINE_EXCEEDED")
_OWN_SERVICES = ("", "inference.GRPCInferenceService")


class Calls:
    """What each call asks of the API."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def table(self) -> Mapping[str, Carried]:
        """By the method's name."""
        return {
            "ServerLive": lambda message, call: {"live": self._says_yes(call, "/v2/health/live")},
            "ServerReady": lambda message, call: {"ready": self._says_yes(call, "/v2/health/ready")},
            "ModelReady": lambda message, call: {"ready": self._says_yes(call, _model(message, "/ready"))},
            "ServerMetadata": lambda message, call: self._get(call, "/v2"),
            "ModelMetadata": lambda message, call: self._get(call, _model(message)),
            "ModelConfig": lambda message, call: {"config": self._get(call, _model(message, "/config"))},
            "ModelStatistics": lambda message, call: self._get(call, _model(message, "/stats") if message.name else "/v2/models/stats"),
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": lambda message, call: self._change(message, call, "load"),
            "RepositoryModelUnload": lambda message, call: self._change(message, call, "unload"),
            "SystemSharedMemoryStatus": self._regions,
            "SystemSharedMemoryRegister": self._register,
            "SystemSharedMemoryUnregister": self._unregister,
            "CudaSharedMemoryStatus": lambda message, call: {},
            "CudaSharedMemoryUnregister": lambda message, call: {},  # nothing is registered: there is nothing to undo
            "Check": self._health,
        }

    def _get(self, call: Call, path: str) -> Any:
        return self._api.get(call, path).tree()

    def _post(self, call: Call, path: str, tree: Mapping[str, Any]) -> Any:
        return self._api.post(call, path, tree).tree()

    def _says_yes(self, call: Call, path: str) -> bool:
        """An API that is away, and a model that nobody knows, are not ready: that is an answer and no error."""
        try:
            self._api.get(call, path).require_ok()
        except Refusal as refusal:
            if refusal.code in _NOT_READY:
                return False
            raise
        return True

    def _index(self, message: Any, call: Call) -> Mapping[str, Any]:
        return {"models": self._post(call, "/v2/repository/index", {"ready": message.ready})}

    def _change(self, message: Any, call: Call, verb: str) -> Mapping[str, Any]:
        name = quote(message.model_name, safe="")
        if not name:
            raise Refusal("INVALID_ARGUMENT", f"model_name is missing: which model to {verb}?")
        parameters = {key: _parameter(value) for key, value in message.parameters.items()}
        self._post(call, f"/v2/repository/models/{name}/{verb}", {"parameters": parameters})
        return {}

    def _regions(self, message: Any, call: Call) -> Mapping[str, Any]:
        regions = self._get(call, _region(message, "status"))
        return {"regions": {region["name"]: region for region in regions}}

    def _register(self, message: Any, call: Call) -> Mapping[str, Any]:
        if not message.name:
            raise Refusal("INVALID_ARGUMENT", "name is missing: what is the region to be called?")
        tree = {"key": message.key, "offset": message.offset, "byte_size": message.byte_size}
        self._post(call, _region(message, "register"), tree)
        return {}

    def _unregister(self, message: Any, call: Call) -> Mapping[str, Any]:
        self._post(call, _region(message, "unregister"), {})
        return {}

    def _health(self, message: Any, call: Call) -> Mapping[str, Any]:
        """Of the server, or of the model called like the service that is asked for."""
        if message.service in _OWN_SERVICES:
            return {"status": "SERVING" if self._says_yes(call, "/v2/health/ready") else "NOT_SERVING"}
        answer = self._api.get(call, model_path(message.service) + "/ready")
        if answer.head.status == 404:
            raise Refusal("NOT_FOUND", f"no model is called {message.service[:80]}")
        return {"status": "SERVING" if answer.head.status == 200 else "NOT_SERVING"}


def _model(message: Any, rest: str = "") -> str:
    return model_path(message.name, message.version) + rest


def _region(message: Any, verb: str) -> str:
    region = f"region/{quote(message.name, safe='')}/" if message.name else ""
    return f"/v2/systemsharedmemory/{region}{verb}"


def _parameter(parameter: Any) -> Any:
    chosen = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, chosen) if chosen else None
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
