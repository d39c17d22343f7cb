"""Where the local API listens, as configurations and commands write it. Pure: nothing is opened or looked up.

``unix`` is a socket in the runtime folder; a path (or ``unix:PATH``) is a socket there; ``HOST:PORT`` and ``[IPV6]:PORT`` are TCP, on
this machine alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNIX = "unix"
_LOCAL = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


@dataclass(frozen=True, slots=True)
class Address:
    """A unix socket's ``path`` (empty for TCP), or ``host`` and ``port``."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def url(self) -> str:
        """As a browser or client takes it."""
        if self.path:
            return f"unix:{self.path}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens already, as the local API is to know it. Its holder keeps ``fd`` open for as long as the API may be started
    again. ``kind``: unix or tcp; ``token``: requests there must carry it."""

    fd: int
    kind: str
    name: str
    token: bool


def is_socket(text: str) -> bool:
    """Whether ``text`` names a unix socket, which file permissions guard."""
    return text == UNIX or text.startswith(("/", "unix:"))


def bad_address(text: str) -> str:
    """What is wrong with ``text``, empty when nothing is."""
    try:
        parse_address(text, default_path="agent-api.sock")
    except ValueError as error:
        return str(error)
    return ""


def parse_address(text: str, *, default_path: str) -> Address:
    """The address in ``text``; ``default_path`` is where ``unix`` alone is. Raises ValueError saying what is wrong."""
    if is_socket(text):
        path = default_path if text == UNIX else text.removeprefix("unix:")
        if not path or "\0" in path:
            raise ValueError(f"{text!r}: the path after unix: is missing")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{text!r} is not 'unix', a path that begins with '/', or HOST:PORT such as 127.0.0.1:8500")
    if not _LOCAL.fullmatch(host):
        raise ValueError(f"{text!r}: only this machine's own addresses are served (127.0.0.1, [::1], localhost); put a proxy in front")
    return Address(host=host, port=int(port))
