"""Talking to a running agent over its local socket."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import AgentUnreachable, CommandError
from edge_agent.serving.local_socket import connect

CONNECT_TIMEOUT_S = 5.0


def call_agent(
    path: Path,
    request: Mapping[str, Any],
    *,
    attach: Path | None = None,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    timeout_s: float | None = 30.0,
) -> Any:
    """The agent's answer to ``request``; the file ``attach`` goes along as a descriptor.

    Raises :class:`AgentUnreachable` when nobody listens at ``path`` and :class:`CommandError` with the agent's own words when it refuses.
    """
    try:
        conn = connect(path, timeout_s=CONNECT_TIMEOUT_S)
    except PermissionError:
        raise AgentUnreachable(f"{path}: permission denied; run as root or as a member of the agent's group") from None
    except OSError as error:
        raise AgentUnreachable(f"{path}: no agent listens here ({error.strerror}); is it running? See --socket and --config") from None
    with conn:
        try:
            conn.settimeout(timeout_s)
            _send_request(conn, request, attach)
            with conn.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    if "progress" in answer:
                        if on_progress is not None:
                            on_progress(answer["progress"])
                        continue
                    if "error" in answer:
                        raise CommandError(str(answer["error"]))
                    return answer["ok"]
        except (OSError, ValueError) as error:
            raise AgentUnreachable(f"{path}: the agent did not answer ({error})") from None
    raise AgentUnreachable(f"{path}: the agent closed the connection without an answer")


def _send_request(conn: socket.socket, request: Mapping[str, Any], attach: Path | None) -> None:
    line = json.dumps(dict(request)).encode() + b"\n"
    if attach is None:
        conn.sendall(line)
        return
    fd = os.open(attach, os.O_RDONLY | os.O_CLOEXEC)
    try:
        socket.send_fds(conn, [line], [fd])
    finally:
        os.close(fd)
