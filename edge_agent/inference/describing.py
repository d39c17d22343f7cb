"""What a model file is, found out in a process of its own: a file that crashes its runtime takes nobody with it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_agent.errors import EdgeError, ModelError
from edge_agent.inference.wire import Channel, ChannelClosed, Packet, close_all
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


def serve(channel: Channel) -> int:
    """The process: describes the file it is told. Its exit status."""
    try:
        packet = None
        while packet is None:
            packet = channel.wait(None)
        channel.send(_described(Path(packet.message["path"])), timeout_s=5.0)
    except ChannelClosed:
        return 0
    return 0


def _described(path: Path) -> Mapping[str, Any]:
    from edge_agent.runtimes.choose import load_model_file

    try:
        runtime = load_model_file(path)
    except EdgeError as error:
        return {"event": "failed", "reason": f"{path}: {error}" if str(path) not in str(error) else str(error)}
    inputs, outputs = ([asdict(spec) for spec in specs] for specs in (runtime.inputs, runtime.outputs))
    return {"event": "described", "runtime": path.suffix[1:].lower(), "inputs": inputs, "outputs": outputs}


def _specs(trees: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**tree, "shape": tuple(tree["shape"])}) for tree in trees)
