"""The sockets of the local API: bound by the control process and kept open there, so that a restart of the API refuses nobody."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from edge_agent.addresses import Address, Listener
from edge_agent.errors import EdgeError
from edge_agent.serving.local_socket import bind_listener

BACKLOG = 256


class HttpListeners:
    """Open until :meth:`close`. Raises EdgeError naming the address that cannot be had; then none is open."""

    def __init__(self, addresses: Sequence[Address], *, token_over_tcp: bool) -> None:
        self._sockets: list[socket.socket] = []
        self._paths: list[Path] = []
        self.urls: list[str] = []
        self.listeners: list[Listener] = []
        try:
            for address in addresses:
                self._open(address, token_over_tcp)
        except OSError as error:
            self.close()
            raise EdgeError(f"{address.url}: cannot listen here: {error.strerror or error}") from None

    def _open(self, address: Address, token_over_tcp: bool) -> None:
        if address.path:
            path = Path(address.path)
            sock = bind_listener(path)
            sock.listen(BACKLOG)
            self._paths.append(path)
            shown, kind = address, "unix"
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self._sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address.host, address.port))
            sock.listen(BACKLOG)
            shown, kind = Address(host=address.host, port=sock.getsockname()[1]), "tcp"
        if sock not in self._sockets:
            self._sockets.append(sock)
        sock.setblocking(False)
        self.urls.append(shown.url)
        self.listeners.append(Listener(sock.fileno(), kind, shown.path or f"{shown.host}:{shown.port}", kind == "tcp" and token_over_tcp))

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._sockets, self._paths = [], []


def read_token(path: Path | None) -> str:
    """The token in the file at ``path``, empty without one. Raises EdgeError for a file that others may read, or that holds none."""
    if path is None:
        return ""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"{path}: the token cannot be read: {getattr(error, 'strerror', None) or 'it is not plain text'}") from None
    if mode & 0o077 and os.geteuid() == path.stat().st_uid:
        raise EdgeError(f"{path}: everyone may read this token; chmod 600 {path}")
    if len(text) < 16 or not text.isprintable() or " " in text:
        raise EdgeError(f"{path}: a token has 16 or more letters and digits on one line; openssl rand -hex 16 makes one")
    return text
