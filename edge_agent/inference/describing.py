"""What a model file is, found out in a process of its own: a file that crashes its runtime takes nobody with it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.errors import ModelError
from edge_agent.inference.wire import Packet, close_all
from edge_agent.inference.zygote_client import Exit, ZygoteClient
from edge_agent.values import TensorSpec


@dataclass(frozen=True, slots=True)
class Description:
    """Tensors of a model file, and the runtime (``onnx`` or ``tflite``) that runs it."""

    runtime: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def describe(zygote: ZygoteClient, path: Path) -> Future[Description]:
    """Loop's thread only. Fails with ModelError."""
    future: Future[Description] = Future()

    def hear(packet: Packet) -> None:
        close_all(packet.fds)
        message = packet.message
        if message["event"] == "described":
            future.set_result(Description(message["runtime"], _specs(message["inputs"]), _specs(message["outputs"])))
        else:
            future.set_exception(ModelError(message["reason"]))

    def gone(exit_: Exit) -> None:
        if not future.done():
            future.set_exception(ModelError(f"{path}: its runtime died while opening it ({exit_})"))

    child = zygote.spawn("describe", "edge-describe", hear, gone)
    child.send({"op": "describe", "path": str(path)})
    return future


def _specs(trees: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**tree, "shape": tuple(tree["shape"])}) for tree in trees)
