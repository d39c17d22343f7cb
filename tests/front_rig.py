"""The API process under test, with real worker processes, and the engine's part played by the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waiting import wait_for

from benchmarks.tiny_model import TinyBundle
from edge_agent import front_process
from edge_agent.bundle.manifest import Manifest, to_json
from edge_agent.clock import SystemClock
from edge_agent.inference.doorbell import create_link
from edge_agent.inference.layout import layout_for
from edge_agent.inference.wire import Channel, ChannelClosed, from_fd, pair
from edge_agent.runtimes.options import RuntimeOptions, options_to_json

SLOTS = 4


def forked(body: Callable[[], object], keep: Sequence[int]) -> int:
    """A child that does ``body`` with no descriptors but ``keep``; its pid."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            from edge_agent.inference import process

            process.keep_only(tuple(keep))
            body()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def work(channel: Channel, bundle: TinyBundle, runtime: Any = None) -> None:
    """A worker's life. ``runtime`` stands in for the model's own."""
    from edge_agent.inference.worker_loop import WorkerLoop
    from edge_agent.runtimes.choose import load_runtime

    try:
        loaded = runtime or load_runtime(bundle.manifest, bundle.folder)
        WorkerLoop(channel, loaded, bundle.manifest, SystemClock(), lambda: None).run()
    except ChannelClosed:
        pass


@dataclass
class Worker:
    """A worker process and the links that lead to it."""

    pid: int
    channel: Channel
    bundle: TinyBundle
    links: list[int] = field(default_factory=list)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> None:
        """Kill it, whatever state it is in."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.channel.close()
            self.pid = 0


class FrontRig:
    """``messages`` are all that the API process said. ``models`` is what it hears of them before it runs."""

    def __init__(self, folder: Path, *, models: Sequence[dict[str, Any]] = (), **start: Any) -> None:
        self.folder = folder
        self.path = str(folder / "api.sock")
        self.messages: list[dict[str, Any]] = []
        self.workers: list[Worker] = []
        self._next = 0
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind(self.path)
        self._unix.listen(128)
        self.port: int = self._tcp.getsockname()[1]
        self.channel, theirs = pair()
        fd = theirs.fileno()
        self.channel.send(self._start(start), (self._unix.fileno(), self._tcp.fileno()))
        if models:
            self.say({"op": "models", "models": list(models)})
        self.pid = forked(lambda: front_process.serve(from_fd(fd)), (fd,))
        theirs.close()

    def _start(self, given: dict[str, Any]) -> dict[str, Any]:
        tcp_token = given.pop("tcp_token", False)
        return {
            "op": "start",
            "name": "api",
            "server_name": "edge-agent",
            "version": "1.0",
            "token": "",
            "deadline_ms": 2000,
            "queue": 16,
            "max_body_bytes": 4 << 20,
            "load_allowed": True,
            "predict": "",
            "listeners": [
                {"kind": "unix", "name": self.path, "token": False},
                {"kind": "tcp", "name": f"127.0.0.1:{self.port}", "token": tcp_token},
            ],
            **given,
        }

    def worker(self, bundle: TinyBundle, runtime: Any = None) -> Worker:
        """A worker process for ``bundle``, not linked yet."""
        ours, theirs = pair()
        fd = theirs.fileno()
        pid = forked(lambda: work(from_fd(fd), bundle, runtime), (fd,))
        theirs.close()
        made = Worker(pid, ours, bundle)
        self.workers.append(made)
        return made

    def link(self, worker: Worker, slots: int = SLOTS) -> int:
        """Link the API to ``worker``; the link's number."""
        number, self._next = self._next, self._next + 1
        manifest: Manifest = worker.bundle.manifest
        fds = create_link(layout_for(manifest, slots).total_bytes)
        worker.channel.send({"op": "link", "link": number, "slots": slots}, fds.all())
        self.say(
            {
                "op": "link",
                "link": number,
                "model": manifest.name,
                "digest": worker.bundle.digest,
                "manifest": to_json(manifest).decode(),
                "slots": slots,
            },
            fds.all(),
        )
        fds.close()
        worker.links.append(number)
        return number

    def serve(self, bundle: TinyBundle, runtime: Any = None, *, slots: int = SLOTS) -> Worker:
        """A worker for ``bundle`` that the API uses."""
        worker = self.worker(bundle, runtime)
        number = self.link(worker, slots)
        self.wait_message("linked", link=number)
        return worker

    def inline(self, bundle: TinyBundle) -> int:
        """Have the API run ``bundle`` itself."""
        number, self._next = self._next, self._next + 1
        self.say(
            {
                "op": "inline",
                "link": number,
                "model": bundle.manifest.name,
                "digest": bundle.digest,
                "manifest": to_json(bundle.manifest).decode(),
                "folder": str(bundle.folder),
                "options": options_to_json(RuntimeOptions()),
            }
        )
        return number

    def lose(self, worker: Worker) -> None:
        """Kill ``worker`` and tell the API, as the engine does."""
        worker.end()
        for number in worker.links:
            self.say({"op": "lost", "link": number})

    def say(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        self.channel.send(message, fds, timeout_s=5.0)

    def hear(self) -> None:
        """Take what the API said since."""
        while (packet := self.channel.receive()) is not None:
            self.messages.append(packet.message)

    def heard(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        self.hear()
        return [m for m in self.messages if m["event"] == event and all(m.get(key) == value for key, value in fields.items())]

    def wait_message(self, event: str, timeout_s: float = 10.0, **fields: Any) -> dict[str, Any]:
        """The first message of ``event`` with these fields."""
        return wait_for(lambda: self.heard(event, **fields), timeout_s, f"{event} {fields}, of {self.messages[-5:]}")[0]

    def connect(self) -> Client:
        return Client(self.path)

    def ask(self, method: str, path: str, body: bytes | dict[str, Any] = b"", headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.ask(method, path, body, headers)

    def infer(self, values: Sequence[float], model: str = "tiny", name: str = "x") -> Answer:
        return self.ask("POST", f"/v2/models/{model}/infer", infer_json(values, name))

    def _end(self) -> None:
        """Have it end by itself; one that does not is killed, and that is an error."""
        try:
            self.say({"op": "end"})
        except ChannelClosed:
            pass  # it ended before
        try:
            wait_for(lambda: os.waitpid(self.pid, os.WNOHANG)[0], 10.0, "the end of the API process")
        except AssertionError:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise

    def close(self) -> None:
        try:
            self._end()
        finally:
            for worker in self.workers:
                worker.end()
            self.channel.close()
            self._tcp.close()
            self._unix.close()


def infer_json(values: Sequence[float], name: str = "x") -> dict[str, Any]:
    """A request for the tiny model."""
    return {"inputs": [{"name": name, "shape": [1, len(values)], "datatype": "FP32", "data": list(values)}]}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A plain HTTP client over one connection, which can also send what no client should."""

    def __init__(self, address: str | tuple[str, int], timeout_s: float = 15.0) -> None:
        self.sock = socket.socket(socket.AF_UNIX) if isinstance(address, str) else socket.socket()
        self.sock.settimeout(timeout_s)
        self.sock.connect(address)
        self._left = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def ask(self, method: str, path: str, body: bytes | dict[str, Any] = b"", headers: dict[str, str] | None = None) -> Answer:
        self.send(request(method, path, body, headers))
        return self.answer(head_only=method == "HEAD")

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, *, head_only: bool = False) -> Answer:
        """The next answer. Raises EOFError when the connection ends first."""
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        if status == 100:
            return Answer(status, headers, b"")
        length = 0 if head_only else int(headers["content-length"])
        while len(self._left) < length:
            self._more()
        body, self._left = self._left[:length], self._left[length:]
        return Answer(status, headers, body)

    def ended(self) -> bool:
        """Whether the server closed the connection; waits for it."""
        try:
            return not self.sock.recv(1)
        except ConnectionError:
            return True

    def _more(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise EOFError(self._left)
        self._left += data


def request(method: str, path: str, body: bytes | dict[str, Any] = b"", headers: dict[str, str] | None = None) -> bytes:
    """The bytes of a request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", *(() if headers and "Host" in headers else ("Host: test",))]
    given = {"Content-Length": str(len(data)), **(headers or {})} if data or method == "POST" else headers or {}
    lines += [f"{name}: {value}" for name, value in given.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data
