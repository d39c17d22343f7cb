"""Lines over sockets: one reader, many, none, slow ones, and ones that never read."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from made_predictions import prediction
from waiting import wait_for

from edge_agent.clock import SystemClock
from edge_agent.errors import SinkError
from edge_agent.pipeline.outlet import Outlet
from edge_agent.sinks.socket import open_sink
from edge_agent.sinks.terms import SinkTerms


@pytest.fixture
def sinks() -> Iterator[list[Any]]:
    opened: list[Any] = []
    yield opened
    for sink in opened:
        sink.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def dial(address: str) -> socket.socket:
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)
    else:
        host, _, port = address.rpartition(":")
        sock = socket.create_connection((host, int(port)))
    sock.settimeout(10)
    return sock


def read_lines(sock: socket.socket, count: int) -> list[str]:
    with sock.makefile("r") as stream:
        return [stream.readline().rstrip("\n") for _ in range(count)]


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "s") if request.param == "unix" else f"127.0.0.1:{free_port()}"


def opened(sinks: list[Any], **options: Any) -> Any:
    sink = open_sink("out", {"format": "label", **options})
    sinks.append(sink)
    return sink


def test_every_connected_reader_gets_each_line(sinks: list[Any], address: str) -> None:
    sink = opened(sinks, listen=address)
    sink.emit(prediction(label="nobody"))
    with closing(dial(address)) as first:
        sink.emit(prediction(label="one"))
        with closing(dial(address)) as second:
            sink.emit(prediction(label="two"))
            assert read_lines(first, 2) == ["one", "two"] and read_lines(second, 1) == ["two"]
        sink.emit(prediction(label="three"))


def test_it_connects_and_comes_back(sinks: list[Any], tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    sink = opened(sinks, connect=path)
    with pytest.raises(SinkError, match="No such file"):
        sink.emit(prediction())
    for label in ("one", "two"):
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(path)
            listener.listen()
            sink.emit(prediction(label=label))
            reader, _ = listener.accept()
            assert read_lines(reader, 1) == [label]
            reader.close()
            with pytest.raises(SinkError, match="hung up"):
                sink.emit(prediction())
        Path(path).unlink()


def test_json_is_the_default(sinks: list[Any], address: str) -> None:
    sink = open_sink("out", {"listen": address})
    sinks.append(sink)
    with closing(dial(address)) as reader:
        sink.emit(prediction(7))
        assert json.loads(read_lines(reader, 1)[0])["window_seq"] == 7


def test_a_reader_that_never_reads_is_left_and_the_others_miss_nothing(sinks: list[Any], address: str) -> None:
    sink = opened(sinks, listen=address, buffer_kib=64)
    with closing(dial(address)) as lazy, closing(dial(address)) as keen, keen.makefile("r") as stream:
        for number in range(2000):
            sink.emit(prediction(label=f"{number} " + "x" * 5000))
            assert stream.readline().startswith(f"{number} ")
        lazy.settimeout(10)
        got = bytearray()
        while chunk := _received(lazy):
            got += chunk
        assert len(got) < 2000 * 5000


def _received(sock: socket.socket) -> bytes:
    """Empty at the end, whichever way it comes."""
    try:
        return sock.recv(1 << 20)
    except ConnectionResetError:
        return b""


def test_a_reader_we_connect_to_that_never_reads_is_an_error(sinks: list[Any], tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        sink = opened(sinks, connect=str(tmp_path / "s"), buffer_kib=8)
        with pytest.raises(SinkError, match="too slow"):
            for _ in range(10_000):
                sink.emit(prediction(label="x" * 1000))


def test_a_slow_reader_gets_whole_lines_in_order(sinks: list[Any], address: str) -> None:
    sink = opened(sinks, listen=address, buffer_kib=4096)
    with closing(dial(address)) as reader, reader.makefile("r") as stream:
        for number in range(300):
            sink.emit(prediction(label=f"{number} " + "x" * 5000))
        for number in range(300):
            if sink.backlog:
                sink.flush()
            assert stream.readline() == f"{number} " + "x" * 5000 + "\n"


def test_the_last_lines_are_sent_before_the_end(sinks: list[Any], address: str) -> None:
    sink = opened(sinks, listen=address, buffer_kib=4096)
    with closing(dial(address)) as reader:
        reader_done: list[int] = []
        thread = threading.Thread(target=lambda: reader_done.append(_count_bytes(reader)), daemon=True)
        for _ in range(300):
            sink.emit(prediction(label="x" * 5000))
        thread.start()
        sink.close()
        thread.join(10)
        assert reader_done == [300 * 5001]


def _count_bytes(sock: socket.socket) -> int:
    count = 0
    while chunk := _received(sock):
        count += len(chunk)
    return count


def test_no_more_readers_than_allowed(sinks: list[Any], address: str) -> None:
    sink = opened(sinks, listen=address, most_readers=1)
    with closing(dial(address)) as first, closing(dial(address)) as second:
        sink.emit(prediction(label="a"))
        assert read_lines(first, 1) == ["a"] and _received(second) == b""


def test_readers_that_talk_are_not_listened_to(sinks: list[Any], address: str) -> None:
    sink = opened(sinks, listen=address)
    with closing(dial(address)) as reader:
        sink.emit(prediction(label="a"))
        reader.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        sink.emit(prediction(label="b"))
        assert read_lines(reader, 2) == ["a", "b"]


def test_a_socket_of_a_dead_process_is_taken_over_and_one_in_use_is_not(sinks: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "s"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    first = opened(sinks, listen=str(path))
    first.emit(prediction())
    assert path.stat().st_mode & 0o777 == 0o660
    second = opened(sinks, listen=str(path))
    with pytest.raises(SinkError, match="already in use"):
        second.emit(prediction())
    second.close()
    with closing(dial(str(path))) as reader:
        first.emit(prediction(label="still here"))
        assert read_lines(reader, 1) == ["still here"]
    first.close()
    assert not path.exists()


def test_a_file_in_the_place_of_the_socket_is_left_alone(sinks: list[Any], tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(SinkError, match="cannot be listened on"):
        opened(sinks, listen=str(tmp_path / "s")).emit(prediction())
    assert (tmp_path / "s").read_text() == "mine"


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(5):
        sink = open_sink("out", {"listen": str(tmp_path / f"s{number}")})
        with closing(dial(str(tmp_path / f"s{number}"))):
            sink.emit(prediction())
        sink.emit(prediction())
        sink.close()
        sink.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("terms", [SinkTerms(direct=True), SinkTerms(policy="block")])
def test_over_the_outlet_a_slow_reader_gets_the_last_line_though_no_other_follows(tmp_path: Path, terms: SinkTerms) -> None:
    path = str(tmp_path / "s")
    outlet = Outlet([(open_sink("out", {"listen": path, "buffer_kib": 4096}), terms)], lambda *event: None, SystemClock())
    with closing(dial(path)) as reader:
        for number in range(300):
            outlet.emit(prediction(number, label="x" * 5000))
        reader.settimeout(0.05)
        got = bytearray()

        def all_there() -> bool:
            outlet.flush()
            try:
                got.extend(reader.recv(1 << 20))
            except TimeoutError:
                pass
            return got.count(b"\n") == 300

        wait_for(all_there)
    outlet.close()


def test_over_the_outlet_a_reader_that_restarts_misses_little(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    outlet = Outlet([(open_sink("out", {"connect": path, "format": "label"}), SinkTerms())], lambda *event: None, SystemClock())
    for number in range(50):
        outlet.emit(prediction(label=str(number)))
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(10)
        reader, _ = listener.accept()
        assert read_lines(reader, 50) == [str(number) for number in range(50)]
        reader.close()
    wait_for(lambda: outlet.counts()["out"].emitted == 50)
    outlet.close()
