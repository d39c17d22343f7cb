"""One client of a V2 server: a raw socket, keep-alive, one request after another, nothing that a library would add.

``python -m benchmarks.inference.programs.client ORDER.json OUT``. It says ``ready`` after its warm-up, begins at a line on its standard
input, ends after ``seconds`` or at a second line, and writes to OUT how each request went: 24 bytes each, see :data:`RECORD`. Standard
output then has what the answers were, as JSON: how often each tail of a body came, and the first failures in words. A request has
failed when its answer is not a 200, does not come within ``timeout_s``, or the connection ends; the next one then connects again.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

RECORD = struct.Struct("<qqq")
"""When it began (CLOCK_MONOTONIC, ns), how long it took (ns), 1 when it was answered with a 200."""

MAX_TAILS = 16
MAX_REASONS = 5
AGAIN_S = 0.005


@dataclass
class Client:
    """``request`` is sent as it is; the last ``tail_bytes`` of each good body are told apart. ``rate_hz`` 0 is flat out."""

    port: int
    request: bytes
    tail_bytes: int
    timeout_s: float
    rate_hz: float
    records: array[int] = field(default_factory=lambda: array("q"))
    tails: dict[bytes, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    _socket: socket.socket | None = None
    _rest: bytes = b""

    def exchange(self) -> bool:
        """One request; whether it went well."""
        try:
            status, body = self._exchange()
        except (OSError, ValueError) as error:
            self._failed(f"{type(error).__name__}: {error}")
            return False
        if status != 200:
            self._count_reason(f"{status}: {body[:120].decode(errors='replace')}")
            return False
        tail = body[-self.tail_bytes :] if self.tail_bytes else b""
        if tail in self.tails or len(self.tails) < MAX_TAILS:
            self.tails[tail] = self.tails.get(tail, 0) + 1
        return True

    def _exchange(self) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), self.timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._rest = b""
        self._socket.sendall(self.request)
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            raise ValueError("an answer without Content-Length")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0])
        while len(data) < end + 4 + length:
            data += self._more()
        self._rest = data[end + 4 + length :]
        if b"connection: close" in head:
            self._drop()
        return int(data[9:12]), data[end + 4 : end + 4 + length]

    def _more(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError("the server ended the connection")
        return data

    def _failed(self, reason: str) -> None:
        self._count_reason(reason)
        self._drop()
        time.sleep(AGAIN_S)

    def _count_reason(self, reason: str) -> None:
        if len(self.reasons) < MAX_REASONS and reason not in self.reasons:
            self.reasons.append(reason)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def run(self, seconds: float) -> None:
        """Until ``seconds`` have passed (0: no limit) or a line comes in."""
        now_ns, record, told = time.monotonic_ns, self.records.extend, select.poll()
        told.register(0, select.POLLIN)
        began_ns = look_ns = now_ns()
        end_ns = began_ns + int(seconds * 1e9) if seconds else 1 << 62
        count = 0
        while True:
            if self.rate_hz:
                time.sleep(max(0.0, (began_ns + int(count * 1e9 / self.rate_hz) - now_ns()) / 1e9))
            start_ns = now_ns()
            if start_ns >= end_ns:
                return
            if start_ns >= look_ns:
                if told.poll(0):
                    return
                look_ns = start_ns + 20_000_000
            good = self.exchange()
            record((start_ns, now_ns() - start_ns, good))
            count += 1


def main() -> int:
    order = json.loads(Path(sys.argv[1]).read_text())
    request = Path(order["request"]).read_bytes()
    client = Client(order["port"], request, order["tail_bytes"], order["timeout_s"], order["rate_hz"])
    for _ in range(order["warm"]):
        client.exchange()
    client.tails.clear()
    client.reasons.clear()
    print("ready", flush=True)
    sys.stdin.readline()
    client.run(order["seconds"])
    Path(sys.argv[2]).write_bytes(client.records.tobytes())
    print(json.dumps({"tails": {tail.hex(): count for tail, count in client.tails.items()}, "reasons": client.reasons}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
