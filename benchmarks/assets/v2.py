"""A small client of the local API: Open Inference Protocol V2 over REST with the binary extension, one connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np

from edge_agent.errors import ModelError

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "bool": "BOOL",
        "float16": "FP16",
        "float32": "FP32",
        "float64": "FP64",
        **{f"{sign.lower()}int{bits}": f"{sign}INT{bits}" for sign in ("U", "") for bits in (8, 16, 32, 64)},
    }
)
_DTYPES = {word: dtype for dtype, word in _WORDS.items()}
_HEAD = "Inference-Header-Content-Length"


class V2Client:
    """Asks models that the API at ``host``:``port`` serves."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = HTTPConnection(host, port, timeout=60)

    def ready(self, model: str) -> bool:
        """Whether ``model`` can be asked."""
        self._connection.request("GET", f"/v2/models/{quote(model)}/ready")
        reply = self._connection.getresponse()
        reply.read()
        return reply.status == 200

    def ask(self, model: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Every output of one inference by name. Raises :class:`ModelError` with what the server said."""
        blobs = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
        inputs = [
            {"name": name, "shape": np.shape(array), "datatype": _WORDS[str(array.dtype)], "parameters": {"binary_data_size": len(blob)}}
            for (name, array), blob in zip(arrays.items(), blobs, strict=True)
        ]
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
        headers = {_HEAD: str(len(head)), "Content-Type": "application/octet-stream"}
        self._connection.request("POST", f"/v2/models/{quote(model)}/infer", head + b"".join(blobs), headers)
        reply = self._connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise ModelError(f"{reply.status}: {body[:300].decode(errors='replace')}")
        return _outputs(body, int(reply.headers.get(_HEAD, len(body))))

    def close(self) -> None:
        self._connection.close()


def _outputs(body: bytes, head_bytes: int) -> dict[str, Any]:
    found, at = {}, head_bytes
    for output in json.loads(body[:head_bytes])["outputs"]:
        dtype, size = np.dtype(_DTYPES[output["datatype"]]), output["parameters"]["binary_data_size"]
        found[output["name"]] = np.frombuffer(body[at : at + size], dtype).reshape(output["shape"])
        at += size
    return found
