"""What the command line of ``edge-agent serve`` said. Light: it is read before anything else is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_LISTEN = ("127.0.0.1:8500",)
MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line said. ``name`` is for a single file; ``workers`` are per model; ``grpc`` is empty or where gRPC is served."""

    files: tuple[Path, ...]
    name: str = ""
    listen: tuple[str, ...] = DEFAULT_LISTEN
    lane: str = "isolated"
    workers: int = 1
    threads: int = 1
    deadline_ms: float = 10_000.0
    queue: int = 64
    memory_limit_mib: int = 0
    token_file: Path | None = None
    grpc: str = ""


def runtimes_of(files: Sequence[Path]) -> tuple[str, ...]:
    """What is worth importing once for all; of a bundle its manifest would tell, and its worker imports what it needs."""
    return tuple(sorted({path.suffix[1:].lower() for path in files} & {"onnx", "tflite"})) or ("onnx", "tflite")
