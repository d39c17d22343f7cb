"""Addresses of stream sockets as text: ``unix:/run/sensor.sock``, ``host:port``, ``[::1]:port``, or a port alone on this machine."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
MOST_PATH_BYTES = 107
"""Of a unix socket's path: unix(7)."""


@dataclass(frozen=True, slots=True)
class Address:
    """``path`` of a unix socket, or ``host`` and ``port`` of TCP."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Raises ValueError, as the end of a sentence, for what is none of the forms."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > MOST_PATH_BYTES or "\0" in path:
            raise ValueError(f"must name an absolute path of at most {MOST_PATH_BYTES} bytes after unix:")
        return Address(path=path)
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536) or (":" in bare and bare == host) or any(map(str.isspace, bare)):
        raise ValueError("must be unix:/path, host:port, [IPv6]:port or a port (1 to 65535)")
    return Address(host=bare or LOOPBACK, port=int(port))
