"""Sources on sockets: connecting, listening, being left, and what must not come in."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from edge_agent.errors import SourceError
from edge_agent.sources.address import parse_address
from edge_agent.sources.socket import SocketSource, open_source
from edge_agent.values import Sample


def collect(source: SocketSource, count: int) -> list[Sample]:
    samples: list[Sample] = []

    def enough() -> bool:
        sample = source.read(0.05)
        if sample is not None:
            samples.append(sample)
        return len(samples) >= count

    wait_for(enough, what=f"{count} samples")
    return samples


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(params=["tcp", "unix"])
def sender(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A server to connect to, and its address."""
    if request.param == "tcp":
        server = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
    else:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / "s"))
        server.listen()
        address = f"unix:{tmp_path / 's'}"
    with server:
        yield server, address


def test_readings_come_over_a_connection_and_its_loss_is_an_error(sender: Any) -> None:
    server, address = sender
    source = open_source("s", {"address": address})
    source.open()
    peer, _ = server.accept()
    peer.sendall(b"1,2\n3,")
    assert collect(source, 1)[0].values == (1, 2)
    peer.close()
    with pytest.raises(SourceError, match=r"was lost \(the other side closed it\)"):
        wait_for(lambda: source.read(0.05) and None)
    source.open()
    peer, _ = server.accept()
    peer.sendall(b"4\n")
    sample = collect(source, 1)[0]
    assert (sample.seq, sample.values) == (1, (4,)), "the half line before the loss is gone"
    source.close()
    peer.close()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_listening_takes_one_sender_after_the_other(kind: str, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 's'}" if kind == "unix" else str(a_free_port())
    source = open_source("s", {"address": address, "listen": True})
    source.open()

    def connect() -> socket.socket:
        if kind == "unix":
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(str(tmp_path / "s"))
            return peer
        return socket.create_connection(("127.0.0.1", int(address)))

    first = connect()
    first.sendall(b"1\n2")
    assert collect(source, 1)[0].values == (1,)
    second = connect()  # the first is still there, perhaps only its side of a dead line
    second.sendall(b"3\n")
    assert collect(source, 1)[0].values == (3,), "half a line of the first does not go before it"
    second.close()
    assert source.read(0.05) is None, "a sender that leaves is not an error"
    third = connect()
    third.sendall(b"4\n")
    assert collect(source, 1)[0].seq == 2
    source.close()
    for peer in (first, third):
        peer.close()
    assert not (tmp_path / "s").exists()
    source.open()
    source.close()


def test_what_a_sender_had_sent_is_read_before_the_next_one_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    source = open_source("s", {"address": f"unix:{path}", "listen": True})
    source.open()
    gone, alive, fresh = (socket.socket(socket.AF_UNIX) for _ in range(3))
    gone.connect(str(path))
    gone.sendall(b"1\n2\n")
    assert collect(source, 1)[0].values == (1,)
    gone.sendall(b"3\n4\n")
    gone.close()
    alive.connect(str(path))  # nobody reads at this moment
    alive.sendall(b"5\n6\n")
    assert [sample.values for sample in collect(source, 5)] == [(2,), (3,), (4,), (5,), (6,)]
    alive.sendall(b"7\n")
    fresh.connect(str(path))
    fresh.sendall(b"8\n")
    assert [sample.values for sample in collect(source, 2)] == [(7,), (8,)]
    assert alive.recv(1) == b"", "the one before it was let go"
    source.close()
    for peer in (alive, fresh):
        peer.close()


def test_a_sender_that_never_pauses_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    path = tmp_path / "s"
    source = open_source("s", {"address": f"unix:{path}", "listen": True, "framing": "raw", "dtype": "uint8", "shape": [65536]})
    source.open()
    flood, fresh = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    flood.connect(str(path))
    flood.setblocking(False)
    fresh.connect(str(path))
    fresh.sendall(b"\1" * 65536)
    values: set[int] = set()

    def heard() -> bool:
        try:
            flood.send(b"\0" * (1 << 20))
        except (BlockingIOError, BrokenPipeError):
            pass
        sample = source.read(0.0)
        values.update([] if sample is None else {int(sample.values.max())})
        return 1 in values

    wait_for(heard, what="a reading of the second sender")
    source.close()
    for peer in (flood, fresh):
        peer.close()


def test_a_socket_file_left_by_a_dead_process_is_replaced_but_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    source = open_source("s", {"address": f"unix:{path}", "listen": True})
    source.open()
    with pytest.raises(SourceError, match="cannot be listened at"):
        open_source("other", {"address": f"unix:{path}", "listen": True}).open()
    assert path.is_socket()
    source.close()


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(SourceError, match="cannot be listened at"):
        open_source("s", {"address": f"unix:{tmp_path / 's'}", "listen": True}).open()
    assert (tmp_path / "s").read_text() == "precious"


def test_nobody_there(tmp_path: Path) -> None:
    for address in (str(a_free_port()), f"unix:{tmp_path / 'none'}"):
        source = open_source("s", {"address": address})
        with pytest.raises(SourceError, match="cannot be reached"):
            source.open()
        with pytest.raises(SourceError, match="is not open"):
            source.read(0.0)


def test_a_line_without_end_and_a_message_without_measure_use_no_memory() -> None:
    port = a_free_port()
    source = open_source("s", {"address": str(port), "listen": True, "max_line_bytes": 64})
    source.open()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"9" * 100_000 + b"\n5\n")
        assert collect(source, 1)[0].values == (5,)
        assert source.garbage == 1
    source.close()
    source = open_source("s", {"address": str(port), "listen": True, "framing": "prefixed", "max_message_bytes": 64})
    source.open()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(struct.pack(">I", 1 << 30) + b"9" * 100)
        wait_for(lambda: source.read(0.05) is None and source.garbage == 1)
        peer.settimeout(5)
        try:
            assert peer.recv(1) == b"", "it was hung up on"
        except ConnectionResetError:
            pass
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(struct.pack(">I", 3) + b"[7]")
        assert collect(source, 1)[0].values == (7,)
    source.close()


@pytest.mark.parametrize(
    ("text", "shown", "local"),
    [
        ("9000", "127.0.0.1:9000", True),
        (":9000", "127.0.0.1:9000", True),
        ("sensor.lan:80", "sensor.lan:80", False),
        ("localhost:80", "localhost:80", True),
        ("0.0.0.0:80", "0.0.0.0:80", False),
        ("[::1]:80", "[::1]:80", True),
        ("[::]:80", "[::]:80", False),
        ("unix:/run/a b", "unix:/run/a b", True),
    ],
)
def test_addresses(text: str, shown: str, local: bool) -> None:
    address = parse_address(text)
    assert (str(address), address.is_local) == (shown, local)
    assert parse_address(str(address)) == address


@given(st.text(max_size=40) | st.from_regex(r"(unix:)?[a-z/\[\]:]{0,9}:?[0-9]{0,6}", fullmatch=True))
def test_an_address_is_read_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError as error:
        assert str(error).startswith("must")
    else:
        assert bool(address.path) != bool(address.host and 0 < address.port < 65_536)
