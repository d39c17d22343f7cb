"""Who is compared: ours in its two lanes and the peers, all started and asked in the same way."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from benchmarks.inference.nets import NETS
from benchmarks.inference.peers import ALL, FastApi, KServe, MlServer, MlServerAlone, Models, Triton, peer
from benchmarks.inference.processes import Process
from benchmarks.inference.server import Server, free_port


class Ours(Server):
    """``edge-agent serve`` with the files as they are: models in processes of their own, or with ``lane`` ``inline`` in the API's."""

    title = "edge-agent"

    def __init__(self, room: Path, models: Models, *, lane: str = "isolated", workers: int = 1, grpc: bool = False) -> None:
        super().__init__(room)
        self.models, self.lane, self.workers = models, lane, workers
        self.grpc_port = free_port() if grpc else None
        self.title = f"edge-agent, {lane}"

    def command(self) -> Sequence[str]:
        words = [sys.executable, "-m", "edge_agent", "serve", *map(str, self.models.values())]
        words += ["--listen", self.url, "--lane", self.lane, "--workers", str(self.workers)]
        return words + (["--grpc", f"127.0.0.1:{self.grpc_port}"] if self.grpc_port is not None else [])

    def ready_paths(self) -> Sequence[str]:
        return ["/v2/health/ready", *(f"/v2/models/{name}/ready" for name in self.models)]

    def model_processes(self) -> list[Process]:
        """The workers; a process is called ``edge-`` and its model."""
        names = {f"edge-{name}"[:15] for name in self.models}
        return [process for process in self.processes() if process.name in names]


class Start(Protocol):
    """Starts a server for models in a room."""

    def __call__(self, room: Path, models: Models) -> AbstractContextManager[Server | str]: ...


@dataclass(frozen=True, slots=True)
class Contender:
    """``start`` gives the running server, or why it is not at hand. ``ours`` is what others are measured against."""

    title: str
    start: Start
    ours: bool = False


@contextmanager
def _ours(room: Path, models: Models, *, lane: str, grpc: bool = False) -> Iterator[Server | str]:
    with Ours(room, models, lane=lane, grpc=grpc) as server:
        yield server


ISOLATED = Contender("edge-agent, isolated", partial(_ours, lane="isolated"), ours=True)
INLINE = Contender("edge-agent, inline", partial(_ours, lane="inline"), ours=True)
WITH_GRPC = Contender("edge-agent, isolated", partial(_ours, lane="isolated", grpc=True), ours=True)
PEERS: Mapping[str, Contender] = {kind.title: Contender(kind.title, partial(peer, kind)) for kind in ALL}
TRITON, MLSERVER, MLSERVER_ALONE = PEERS[Triton.title], PEERS[MlServer.title], PEERS[MlServerAlone.title]
KSERVE, FASTAPI = PEERS[KServe.title], PEERS[FastApi.title]
EVERYONE = (ISOLATED, INLINE, TRITON, MLSERVER, MLSERVER_ALONE, KSERVE, FASTAPI)


@dataclass(frozen=True, slots=True)
class Standing:
    """Servers that run, and why the others do not, by title."""

    servers: Mapping[str, Server]
    absent: Mapping[str, str]


@contextmanager
def standing(contenders: Sequence[Contender], models: Models) -> Iterator[Standing]:
    """All of them at once, for figures that take turns among servers. Raises ServerFailed when one that is installed does not start."""
    with TemporaryDirectory(prefix="edge-servers-") as name, ExitStack() as held:
        servers: dict[str, Server] = {}
        absent: dict[str, str] = {}
        for index, contender in enumerate(contenders):
            server = held.enter_context(contender.start(Path(name) / str(index), models))
            if isinstance(server, str):
                absent[contender.title] = server
            else:
                servers[contender.title] = server
        yield Standing(servers, absent)


@contextmanager
def models_of(*names: str, external: bool = False) -> Iterator[dict[str, Path]]:
    """Files of networks of :data:`~benchmarks.inference.nets.NETS`, by name."""
    with TemporaryDirectory(prefix="edge-nets-") as folder:
        yield {name: NETS[name].save(Path(folder) / f"{name}.onnx", external=external) for name in names}
