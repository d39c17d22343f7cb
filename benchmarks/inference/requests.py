"""The bytes of a V2 request, once with its tensor as JSON and once with its tensor as bytes."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.inference.nets import Net


def infer_request(net: Net, *, model: str = "", binary: bool = True, x: Any = None) -> bytes:
    """POST /v2/models/MODEL/infer with ``x`` (default: the net's sample 0), whole, ready for a socket."""
    value = net.sample() if x is None else x
    given: dict[str, object] = {"name": "x", "shape": list(value.shape), "datatype": "FP32"}
    if not binary:
        given["data"] = value.ravel().tolist()
        return _http(model or net.name, json.dumps({"inputs": [given]}).encode(), b"", None)
    given["parameters"] = {"binary_data_size": value.nbytes}
    outputs = [{"name": "y", "parameters": {"binary_data": True}}]
    text = json.dumps({"inputs": [given], "outputs": outputs}).encode()
    return _http(model or net.name, text, value.tobytes(), len(text))


def _http(model: str, text: bytes, tensor: bytes, json_bytes: int | None) -> bytes:
    kind = "application/json" if json_bytes is None else "application/octet-stream"
    head = [f"POST /v2/models/{model}/infer HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}"]
    head += [f"Content-Length: {len(text) + len(tensor)}"]
    head += [f"Inference-Header-Content-Length: {json_bytes}"] if json_bytes is not None else []
    return "\r\n".join([*head, "", ""]).encode() + text + tensor
