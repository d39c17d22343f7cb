"""The datagrams of sd_notify(3), received by a real socket as the service manager would."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.notify import Notifier, watchdog_interval_s


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(2)
        listener.bind(str(tmp_path / "notify"))
        yield listener


def test_messages_arrive_at_a_socket_file(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    assert notifier.active
    assert notifier.ready("serving digits 1.0")
    assert manager.recv(4096) == b"READY=1\nSTATUS=serving digits 1.0"
    assert notifier.watchdog()
    assert manager.recv(4096) == b"WATCHDOG=1"
    assert notifier.status("two\nlines")
    assert manager.recv(4096) == b"STATUS=two lines"
    assert notifier.extend_timeout(2.5)
    assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=2500000"
    assert notifier.stopping()
    assert manager.recv(4096) == b"STOPPING=1"


def test_an_abstract_socket_is_understood() -> None:
    name = f"edge-agent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(2)
        listener.bind("\0" + name)
        assert Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert listener.recv(4096) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_usable_socket_nothing_happens(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    assert not notifier.active
    assert not notifier.ready()


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).watchdog()


def test_a_manager_that_does_not_read_never_blocks(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    answers = [notifier.watchdog() for _ in range(5000)]
    assert answers[0]
    assert not answers[-1], "the socket's queue is bounded, so the last datagrams cannot have been taken"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getppid() or 2)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_watchdog_interval(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval_s(environment) == seconds
    assert Notifier(environment).watchdog_interval_s() == seconds
