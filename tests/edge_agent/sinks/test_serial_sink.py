"""Lines to a serial port; a pseudo-terminal is the port."""

from __future__ import annotations

import os
import pty
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from made_predictions import prediction
from waiting import wait_for

from edge_agent.errors import SinkError
from edge_agent.sinks.serial import SerialSink, open_sink


@dataclass
class Port:
    """The far end, and the path of the near one."""

    far: int
    near: int
    path: str

    def heard(self, lines: int = 1) -> bytes:
        """What came, of so many line ends or more: the kernel hands over each write by itself, and in its own time."""
        data = os.read(self.far, 65536)
        while data.count(b"\n") < lines:
            data += os.read(self.far, 65536)
        return data

    def unplug(self) -> None:
        os.close(self.far)
        os.close(self.near)


def make_port() -> Port:
    far, near = pty.openpty()
    tty.setraw(near)
    return Port(far, near, os.ttyname(near))


@pytest.fixture
def port() -> Iterator[Port]:
    made = make_port()
    yield made
    for handle in (made.far, made.near):
        try:
            os.close(handle)
        except OSError:
            pass


def sink_on(path: str, **options: Any) -> SerialSink:
    return open_sink("out", {"port": path, "format": "label", **options})


def test_a_line_for_each_prediction(port: Port) -> None:
    sink = sink_on(port.path)
    sink.emit(prediction(label="hot"))
    sink.emit(prediction(label="cold"))
    assert port.heard(2) == b"hot\ncold\n"
    sink.close()


@pytest.mark.parametrize(("word", "start"), [("json", b'{"pipeline"'), ("csv", b"7,99,ok,0.75,0.25,0.75\n")])
def test_formats(port: Port, word: str, start: bytes) -> None:
    sink_on(port.path, format=word).emit(prediction(7))
    assert port.heard().startswith(start)


def test_line_ends_are_sent_as_they_are(port: Port) -> None:
    """A terminal left in its usual mode would send carriage returns too."""
    import termios

    attributes = termios.tcgetattr(port.near)
    attributes[1] |= termios.OPOST | termios.ONLCR
    termios.tcsetattr(port.near, termios.TCSANOW, attributes)
    sink_on(port.path).emit(prediction())
    assert port.heard() == b"ok\n"


def test_a_port_that_nobody_reads_is_an_error_within_the_timeout_and_half_a_line_is_ended(port: Port) -> None:
    sink = sink_on(port.path, timeout_s=0.05)
    with pytest.raises(SinkError, match=r"took not all of a line in 0\.05 s"):
        for _ in range(100):
            sink.emit(prediction(label="x" * 5000))
    os.set_blocking(port.far, False)
    heard = b""

    def read_all() -> bool:
        nonlocal heard
        try:
            heard += os.read(port.far, 1 << 20)
        except BlockingIOError:
            return True
        return False

    wait_for(read_all)
    heard = b""
    sink.emit(prediction(label="after"))
    os.set_blocking(port.far, True)
    heard += port.heard()
    assert heard == b"\nafter\n"


def test_an_unplugged_port_is_an_error_and_comes_back(tmp_path: Path) -> None:
    first, name = make_port(), tmp_path / "ttyUSB0"
    name.symlink_to(first.path)
    sink = sink_on(str(name))
    sink.emit(prediction())
    first.unplug()
    name.unlink()
    with pytest.raises(SinkError, match="cannot be written"):
        sink.emit(prediction())
    with pytest.raises(SinkError, match="No such file"):
        sink.emit(prediction())
    second = make_port()
    name.symlink_to(second.path)
    sink.emit(prediction(label="back"))
    assert second.heard(2) == b"\nback\n"
    sink.close()
    second.unplug()


def test_what_is_no_port_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot be written"):
        sink_on(str(tmp_path / "file")).emit(prediction())


def test_no_descriptor_is_left(port: Port, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in (port.path, str(tmp_path / "file"), str(tmp_path / "none")):
        sink = sink_on(path)
        try:
            sink.emit(prediction())
        except SinkError:
            pass
        sink.close()
        sink.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_is_no_serial_port_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SinkError, match="it is not a serial port"):
        sink_on(str(tmp_path / "file")).emit(prediction())
    assert (tmp_path / "file").read_text() == "precious"
