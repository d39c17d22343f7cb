"""Steady clients of the local API, over its unix socket: every answer is checked, every failure is dated."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.inference.soaking.house import MODEL
from benchmarks.inference.soaking.numbered import CHANNELS, MOST, SCORES, is_answer, number_of, reading, seed_of
from benchmarks.inference.soaking.swaps import Swaps

TIMEOUT_S = 20.0
RATE_HZ = 15.0
AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Failure:
    """``status`` 0: the connection ended or could not be made."""

    began_ns: int
    ended_ns: int
    status: int
    text: str


@dataclass(slots=True)
class Answers:
    """What one client got."""

    good: int = 0
    slowest_ms: float = 0.0
    over_100_ms: int = 0
    wrong: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Client(threading.Thread):
    """Asks at an even pace, with JSON or binary tensors; one number never twice. Knocks again and again where nobody listens."""

    def __init__(self, path: Path, swaps: Swaps, *, binary: bool, first: int) -> None:
        super().__init__(name="client", daemon=True)
        self.answers = Answers()
        self._path, self._swaps, self._binary = path, swaps, binary
        self._number = first
        self._halt = threading.Event()
        self._socket: socket.socket | None = None
        self._rest = b""
        self._version = ""
        self._to_check: list[tuple[int, int, str, int]] = []

    def halt(self) -> None:
        self._halt.set()
        self.join(2 * TIMEOUT_S)
        self._check_versions(all_of_them=True)

    def run(self) -> None:
        due_s = time.monotonic()
        while not self._halt.is_set():
            due_s = max(due_s + 1 / RATE_HZ, time.monotonic() - 0.2)
            self._halt.wait(max(0.0, due_s - time.monotonic()))
            self._once()
            self._check_versions()

    def _once(self) -> None:
        number, self._number = self._number, (self._number + 1) % MOST
        began_ns = time.monotonic_ns()
        try:
            status, head, body = self._exchange(number)
        except (OSError, ValueError) as error:
            self._failed(began_ns, 0, f"{type(error).__name__}: {error}")
            self._drop()
            self._halt.wait(AGAIN_S)
            return
        if status != 200:
            self._failed(began_ns, status, body[:300].decode(errors="replace"))
            return
        took_ms = (time.monotonic_ns() - began_ns) / 1e6
        self.answers.slowest_ms = max(self.answers.slowest_ms, took_ms)
        self.answers.over_100_ms += took_ms > 100
        version, scores = self._read(head, body)
        if number_of(scores) != number or not is_answer(scores, number, seed_of(version)):
            self.answers.wrong.append(f"{number} of version {version}: {scores}")
            return
        self.answers.good += 1
        self._to_check.append((began_ns, time.monotonic_ns(), version, number))

    def _failed(self, began_ns: int, status: int, text: str) -> None:
        self.answers.failures.append(Failure(began_ns, time.monotonic_ns(), status, text))

    def _check_versions(self, *, all_of_them: bool = False) -> None:
        """Once the update is over that was under way, it is known which versions might have answered."""
        if not self._to_check or (self._swaps.under_way() and not all_of_them):
            return
        checked, self._to_check = self._to_check, []
        for began_ns, ended_ns, version, number in checked:
            allowed = self._swaps.allowed(began_ns, ended_ns)
            if version not in allowed:
                self.answers.wrong.append(f"{number}: version {version} answered, where {sorted(allowed)} might")

    def _exchange(self, number: int) -> tuple[int, bytes, bytes]:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(TIMEOUT_S)
            self._socket.connect(str(self._path))
            self._rest = b""
        self._socket.sendall(self._request(number))
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        length = int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
        while len(data) < end + 4 + length:
            data += self._more()
        self._rest = data[end + 4 + length :]
        if b"connection: close" in head:
            self._drop()
        return int(data[9:12]), head, data[end + 4 : end + 4 + length]

    def _more(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the server ended the connection")
        return data

    def _drop(self) -> None:
        gone, self._socket = self._socket, None
        if gone is not None:
            gone.close()

    def _request(self, number: int) -> bytes:
        values = reading(number)
        given: dict[str, object] = {"name": "x", "shape": [1, CHANNELS], "datatype": "FP32"}
        if self._binary:
            given["parameters"] = {"binary_data_size": 4 * CHANNELS}
            text = json.dumps({"inputs": [given], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
            extra, tensor = f"\r\nInference-Header-Content-Length: {len(text)}", struct.pack(f"<{CHANNELS}f", *values)
        else:
            text, extra, tensor = json.dumps({"inputs": [{**given, "data": values}]}).encode(), "", b""
        head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(text) + len(tensor)}{extra}\r\n\r\n"
        return head.encode() + text + tensor

    def _read(self, head: bytes, body: bytes) -> tuple[str, list[float]]:
        if not self._binary:
            answer = json.loads(body)
            return str(answer["model_version"]), list(answer["outputs"][0]["data"])
        length = int(head.split(b"inference-header-content-length:", 1)[1].split(b"\r\n", 1)[0])
        return str(json.loads(body[:length])["model_version"]), list(struct.unpack(f"<{SCORES}f", body[length:]))
