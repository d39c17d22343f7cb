"""Where a socket or web sink leads, as configurations write it. Pure: nothing is opened or looked up."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A unix socket's ``path`` (empty for TCP), or ``host`` and ``port``."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def local(self) -> bool:
        """Whether nothing on the way can leave this machine."""
        return bool(self.path) or is_loopback(self.host)

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


def parse_endpoint(text: str) -> Endpoint:
    """``/path`` or ``unix:/path``; ``host:port``, ``[v6]:port``, or either after ``tcp:``. Raises ValueError saying what is wrong."""
    if text.startswith(("/", "unix:")):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path or len(path.encode()) > 107:
            raise ValueError(f"{text[:120]!r} must be a whole path of at most 107 bytes")
        return Endpoint(path=path)
    host, colon, port = text.removeprefix("tcp:").rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text[:120]!r}: an IPv6 address stands in brackets, [::1]:9000")
    if not colon or not host or any(sign.isspace() or sign == "\0" for sign in host) or not (port.isascii() and port.isdigit()):
        raise ValueError(f"{text[:120]!r} is neither a path that begins with / nor HOST:PORT such as 127.0.0.1:9000")
    if not 0 < int(port) < 65_536:
        raise ValueError(f"{text[:120]!r}: the port must be 1 to 65535")
    return Endpoint(host=host, port=int(port))


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by name or number."""
    return _LOOPBACK.fullmatch(host) is not None
