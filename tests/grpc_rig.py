"""The gRPC process in front of an API process under test, and a client that sends what it is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # else it comes back to life in the processes that tests fork

import grpc
from front_rig import FrontRig

from edge_agent.clock import SystemClock
from edge_agent.grpc_front.messages import Messages
from edge_agent.serving.grpc_process import GrpcProcess
from edge_agent.values import Event

SERVICE = "inference.GRPCInferenceService"
TIMEOUT_S = 15.0


class GrpcRig:
    """``events`` are what the process's keeper reported."""

    def __init__(
        self, front: FrontRig, *, listen: str = "127.0.0.1:0", token_file: Path | None = None, max_body_bytes: int = 4 << 20
    ) -> None:
        self.front = front
        self.messages = Messages()
        self.events: list[Event] = []
        path = Path(front.path)
        self.process = GrpcProcess(path, listen, token_file, self.events.append, SystemClock(), max_body_bytes=max_body_bytes)
        self.process.start()
        self.channel = self.connect()

    def connect(self) -> grpc.Channel:
        """A channel with a connection of its own."""
        limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        alone = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]
        return grpc.insecure_channel(self.process.url, options=limits + alone)

    def method(self, name: str, service: str = SERVICE) -> Any:
        """Bytes to bytes."""
        return self.channel.unary_unary(f"/{service}/{name}")

    def call(self, method: str, /, *, timeout_s: float = TIMEOUT_S, metadata: Any = None, **fields: Any) -> Any:
        """A call of the protocol, by the fields of its request."""
        request = self.messages.of(f"{method}Request")(**fields)
        data = self.method(method)(request.SerializeToString(), timeout=timeout_s, metadata=metadata)
        return self.messages.read(f"{method}Response", data)

    def request(self, values: list[float] | None = None, **fields: Any) -> Any:
        """An infer request for the tiny model, its tensor typed."""
        made = self.messages.of("ModelInferRequest")(model_name="tiny", **fields)
        given = [1.0, 2.0, 3.0, 4.0] if values is None else values
        made.inputs.add(name="x", datatype="FP32", shape=[1, len(given)]).contents.fp32_contents.extend(given)
        return made

    def infer(self, request: Any, *, timeout_s: float = TIMEOUT_S) -> Any:
        data = self.method("ModelInfer")(request.SerializeToString(), timeout=timeout_s)
        return self.messages.read("ModelInferResponse", data)

    def close(self) -> None:
        self.channel.close()
        self.process.stop()


def refusal(call: Any) -> tuple[str, str]:
    """Code and text of the error that ``call`` ends in."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"it was answered: {answer}")
