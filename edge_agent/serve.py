"""``edge-agent serve FILE``: one model, or several, over the local API with no configuration."""

from __future__ import annotations

import logging
import signal
import sys
import tempfile
import threading
from pathlib import Path

from edge_agent import __version__
from edge_agent.addresses import Address, parse_address
from edge_agent.board import require_runtime
from edge_agent.bundle.archive import EXTENSION, read_manifest
from edge_agent.client_calls import ClientCalls
from edge_agent.clock import SystemClock
from edge_agent.config import EngineConfig, ModelConfig
from edge_agent.errors import ConfigError, EdgeError, Problem
from edge_agent.inference.engine import Engine
from edge_agent.inference.front import FrontConfig
from edge_agent.inference.zygote_start import StartedZygote
from edge_agent.serve_options import MOST_WORKERS, ServeOptions, runtimes_of
from edge_agent.served_files import ServedFiles, name_of
from edge_agent.serving.grpc_process import GrpcProcess, grpc_problem
from edge_agent.serving.http_listeners import HttpListeners, read_token
from edge_agent.values import Event

GRPC_SOCKET = "grpc.sock"
"""Where the gRPC process asks the API: a socket of theirs in the folder of this run."""
"""As in a configuration."""
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def serve(options: ServeOptions, zygote: StartedZygote) -> int:
    """Serve until told to stop; the exit status. Raises EdgeError; nothing is left running then but ``zygote``, which the caller ends."""
    require_runtime()
    if options.name and len(options.files) > 1:
        raise ConfigError([Problem("--name", "is for one file; several are called what their files are called")])
    if options.workers > MOST_WORKERS:
        raise ConfigError([Problem("--workers", f"at most {MOST_WORKERS}")])
    problem = grpc_problem("--grpc") if options.grpc else None
    if problem is not None:
        raise ConfigError([problem])
    token = read_token(options.token_file)
    halt = threading.Event()
    ends = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is under nohup, which wants the terminal outlived
        ends.append(signal.SIGHUP)
    for word in ends:
        signal.signal(word, lambda *_: halt.set())
    with tempfile.TemporaryDirectory(prefix="edge-serve-") as scratch:
        listeners = _listeners(options, Path(scratch), over_tcp=bool(token))
        served = _Serving(options, Path(scratch), token, zygote)
        try:
            served.start(listeners)
            halt.wait()
        finally:
            served.stop()
            listeners.close()
    return 0


def _listeners(options: ServeOptions, scratch: Path, *, over_tcp: bool) -> HttpListeners:
    addresses = [_address("--listen", text, str(scratch / "api.sock")) for text in options.listen]
    if options.grpc:
        _address("--grpc", options.grpc, "beside the API's socket")
        addresses.append(Address(path=str(scratch / GRPC_SOCKET)))
    return HttpListeners(addresses, token_over_tcp=over_tcp)


def _address(key: str, text: str, default_path: str) -> Address:
    try:
        return parse_address(text, default_path=default_path)
    except ValueError as error:
        raise ConfigError([Problem(key, str(error))]) from None


class _Serving:
    """The engine and its models."""

    def __init__(self, options: ServeOptions, scratch: Path, token: str, zygote: StartedZygote) -> None:
        self._options = options
        self._token = token
        self._grpc = _grpc(options, scratch) if options.grpc else None
        names = [options.name or name_of(path) for path in options.files]
        self._calls = ClientCalls(self._act)
        self._files = ServedFiles(scratch, lambda path: self._engine.describe(path))
        self._engine = Engine(
            store=self._files,
            clock=SystemClock(),
            report=_report,
            config=EngineConfig(
                deadline_ms=options.deadline_ms, threads=options.threads, memory_limit_mib=options.memory_limit_mib, silent_s=60.0
            ),
            runtimes=runtimes_of(options.files),
            publish=lambda pipeline, suffix, prediction: None,
            on_crash_loop=lambda model, digest: None,
            models=[ModelConfig(name, lane=options.lane, workers=options.workers) for name in names],
            api=True,
            zygote=zygote,
            default_model=ModelConfig("", lane=options.lane, workers=options.workers),
        )

    def start(self, listeners: HttpListeners) -> None:
        options = self._options
        self._engine.start()
        front = FrontConfig(self._token, options.queue, version=__version__, load=True, predict=_first_name(options))
        opened = self._engine.open_api(front, listeners.listeners, self._calls.take)  # starts beside the models
        names = [self._files.add(path, options.name) for path in options.files]
        for name in names:
            self._engine.serve(name)
        opened()
        urls = listeners.urls[: len(options.listen)]
        if self._grpc is not None:
            self._grpc.start()
            urls.append(f"grpc {self._grpc.url}")
        for url in urls:
            for name in names:
                print(f"serving {name} on {url}", flush=True)

    def stop(self) -> None:
        if self._grpc is not None:
            self._grpc.stop()
        self._calls.stop()
        self._engine.stop(timeout_s=5.0)

    def _act(self, call: str, model: str) -> None:
        if call == "unload":
            self._engine.unload(model)
        else:
            self._load(model)

    def _load(self, model: str) -> None:
        """The file of ``model`` as it is now: proven where it brings what to prove it with, and only then in place of the one before."""
        before = self._files.active(model)
        digest = self._files.again(model)
        try:
            self._engine.load(model)
            if digest != before:
                self._replace(model, digest)
        except EdgeError:
            self._files.put_back(model, before)
            raise
        self._files.forget(before)

    def _replace(self, model: str, digest: str) -> None:
        if self._files.trusted(digest):
            report = self._engine.try_candidate(model, digest, self._files.manifest(digest), self._files.folder(digest))
            if not report.passed:
                raise EdgeError(f"{model}: the version before serves on: {'; '.join(report.reasons)}")
        self._engine.switch(model, digest)


def _grpc(options: ServeOptions, scratch: Path) -> GrpcProcess:
    return GrpcProcess(scratch / GRPC_SOCKET, options.grpc, options.token_file, _report, SystemClock(), key="--grpc")


def _first_name(options: ServeOptions) -> str:
    """What the first model will be called."""
    first = options.files[0]
    return options.name or (read_manifest(first).name if first.suffix == EXTENSION else name_of(first))


def _report(event: Event) -> None:
    if LEVELS.get(event.level, logging.INFO) >= logging.WARNING:
        print(f"edge-agent: {event.message}", file=sys.stderr, flush=True)
