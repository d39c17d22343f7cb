"""The local API of a running agent: its sockets, its gRPC door, and what its clients may ask for beyond inference."""

from __future__ import annotations

from pathlib import Path

from edge_agent import __version__
from edge_agent.addresses import UNIX, Address, parse_address
from edge_agent.client_calls import ClientCalls
from edge_agent.clock import Clock
from edge_agent.config import AgentConfig
from edge_agent.errors import EdgeError
from edge_agent.inference.engine import Engine
from edge_agent.inference.front import FrontConfig
from edge_agent.ports import Reporter
from edge_agent.serving.grpc_process import GrpcProcess
from edge_agent.serving.http_listeners import HttpListeners, read_token

SOCKET_NAME = "api.sock"
BEHIND_GRPC = "api-behind-grpc.sock"
GRPC_SOCKET_NAME = "api-grpc.sock"


class LocalApi:
    """Does nothing where ``[api]`` names no address."""

    def __init__(self, config: AgentConfig, engine: Engine, clock: Clock, report: Reporter) -> None:
        self._config = config
        self._engine = engine
        self._clock = clock
        self._report = report
        self._listeners: HttpListeners | None = None
        self._grpc: GrpcProcess | None = None
        self._calls = ClientCalls(self._act)

    def start(self) -> None:
        """Raises EdgeError when an address cannot be had or the token cannot be read."""
        api = self._config.api
        if not api.listen and not api.grpc:
            return
        token = read_token(api.token_file)
        addresses = [parse_address(text, default_path=self._path(SOCKET_NAME)) for text in api.listen]
        behind = next((address.path for address in addresses if address.path), "")
        if api.grpc and not behind:
            behind = self._path(BEHIND_GRPC)
            addresses.append(Address(path=behind))
        self._listeners = HttpListeners(addresses, token_over_tcp=True)
        body_bytes = api.max_body_mib << 20
        front = FrontConfig(token, api.queue, body_bytes, load=api.load, version=__version__, predict=self._only_model())
        self._engine.open_api(front, self._listeners.listeners, self._calls.take)()
        if api.grpc:
            self._open_grpc(behind, body_bytes)

    def stop(self) -> None:
        """Take no more calls and close the sockets; what is on its way is the engine's to finish."""
        self._calls.stop()
        if self._grpc is not None:
            self._grpc.stop()
        if self._listeners is not None:
            self._listeners.close()

    def _open_grpc(self, behind: str, body_bytes: int) -> None:
        api = self._config.api
        listen = f"unix:{self._path(GRPC_SOCKET_NAME)}" if api.grpc == UNIX else api.grpc
        self._grpc = GrpcProcess(Path(behind), listen, api.token_file, self._report, self._clock, max_body_bytes=body_bytes)
        self._grpc.start()

    def _path(self, name: str) -> str:
        return str(self._config.device.runtime_dir / name)

    def _only_model(self) -> str:
        models = self._config.models
        return models[0].name if len(models) == 1 else ""

    def _act(self, call: str, model: str) -> None:
        if model not in {known.name for known in self._config.models}:
            raise EdgeError(f"model {model}: this device has no such model")
        if call == "load":
            self._engine.load(model)
        else:
            self._engine.unload(model)
