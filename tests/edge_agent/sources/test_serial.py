"""A serial sensor, on a pseudo-terminal: lines, noise, unplugging."""

from __future__ import annotations

import itertools
import os
import sys
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from edge_agent.clock import ManualClock
from edge_agent.errors import RuntimeMissing, SourceError
from edge_agent.sources.lines import LineBuffer
from edge_agent.sources.serial import SerialSource, open_source
from edge_agent.values import Sample


@dataclass
class Wire:
    """The sensor's end of a serial line, and the name of the device's end."""

    sensor: int
    port: str

    def send(self, data: bytes) -> None:
        os.write(self.sensor, data)

    def cut(self) -> None:
        os.close(self.sensor)
        self.sensor = -1


@pytest.fixture
def wire() -> Iterator[Wire]:
    sensor, device = os.openpty()
    tty.setraw(device)
    made = Wire(sensor, os.ttyname(device))
    yield made
    os.close(device)
    if made.sensor >= 0:
        os.close(made.sensor)


def listening(wire: Wire, **options: Any) -> SerialSource:
    source = open_source("s", {"port": wire.port, **options})
    source.open()
    wire.send(b"torn\n")  # the first line may be half a one, so it never counts
    return source


def collect(source: SerialSource, count: int) -> list[Sample]:
    samples: list[Sample] = []

    def enough() -> bool:
        sample = source.read(0.05)
        if sample is not None:
            samples.append(sample)
        return len(samples) >= count

    wait_for(enough, what=f"{count} samples")
    return samples


def test_lines_become_samples(wire: Wire) -> None:
    source = listening(wire)
    wire.send(b"1,2.5\r\n-3,4\n")
    samples = collect(source, 2)
    assert [(sample.source, sample.seq, sample.values) for sample in samples] == [("s", 0, (1, 2.5)), ("s", 1, (-3, 4))]
    assert source.read(0.0) is None
    source.close()


def test_a_line_may_come_in_pieces(wire: Wire) -> None:
    source = listening(wire, framing="json", fields=["t"])
    for piece in (b'{"t"', b": 20.", b'5}\n{"t": 21}'):
        wire.send(piece)
    assert [sample.values for sample in collect(source, 1)] == [(20.5,)]
    assert source.read(0.01) is None, "a line without its end is not a sample yet"
    wire.send(b"\n")
    assert collect(source, 1)[0].values == (21,)
    source.close()


def test_noise_is_counted_and_does_not_stop_the_sensor(wire: Wire) -> None:
    source = listening(wire, max_line_bytes=32)
    wire.send(b"boot v1\n\n1,2\n\xff\xfe\x00\n1,2,\n" + b"9" * 100 + b"\n3,4\n")
    assert [sample.values for sample in collect(source, 2)] == [(1, 2), (3, 4)]
    assert source.garbage == 4
    source.close()


def test_the_first_half_line_is_not_taken_for_a_number(wire: Wire) -> None:
    source = open_source("s", {"port": wire.port})
    source.open()
    wire.send(b"1.5\n101.5\n")  # the tail of an earlier 101.5, then a whole one
    assert [sample.values for sample in collect(source, 1)] == [(101.5,)]
    source.close()


def test_noise_that_never_ends_does_not_hold_the_reader(wire: Wire) -> None:
    class Hasty(ManualClock):
        """Every look at this clock takes a tenth of a second."""

        def monotonic_ns(self) -> int:
            self.advance_s(0.1)
            return super().monotonic_ns()

    source = open_source("s", {"port": wire.port}, clock=Hasty())
    source.open()
    wire.send(b"?" * 4000)
    assert source.read(0.2) is None
    source.close()


def test_unplugging_is_an_error_and_replugging_works(wire: Wire, tmp_path: Path) -> None:
    port = tmp_path / "sensor"  # as udev gives a sensor one name wherever it is plugged in
    port.symlink_to(wire.port)
    wire.port = str(port)
    source = listening(wire)
    wire.send(b"1\n")
    collect(source, 1)
    wire.cut()
    with pytest.raises(SourceError, match="lost"):
        wait_for(lambda: source.read(0.05))
    with pytest.raises(SourceError, match="not open"):
        source.read(0.0)
    sensor, device = os.openpty()
    tty.setraw(device)
    port.unlink()
    port.symlink_to(os.ttyname(device))
    source.open()
    os.write(sensor, b"torn\n2\n")
    assert [(sample.seq, sample.values) for sample in collect(source, 1)] == [(1, (2,))], "numbering goes on"
    source.close()
    os.close(device)
    os.close(sensor)


def test_a_port_that_is_not_there_or_not_a_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a port")
    for port in ("/dev/no-such-port", str(tmp_path / "file")):
        with pytest.raises(SourceError, match="cannot be opened"):
            open_source("s", {"port": port}).open()


def test_one_port_is_not_read_by_two(wire: Wire) -> None:
    source = listening(wire)
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source("other", {"port": wire.port}).open()
    source.close()


def test_without_pyserial_the_extra_is_named(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(RuntimeMissing, match=r"edge-runtime\[serial\]"):
        open_source("s", {"port": wire.port}).open()


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=6), most=st.integers(1, 40))
def test_lines_do_not_depend_on_how_bytes_arrive(data: bytes, cuts: list[int], most: int) -> None:
    whole, pieces = LineBuffer(most), LineBuffer(most)
    edges = [0, *sorted(cuts), len(data)]
    together = whole.feed(data)
    apart = [line for start, end in itertools.pairwise(edges) for line in pieces.feed(data[start:end])]
    assert together == apart and whole.too_long == pieces.too_long
    expected = [line.strip() for line in data.split(b"\n")[1:-1] if len(line) <= most]
    assert together == expected
