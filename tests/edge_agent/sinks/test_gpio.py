"""A GPIO line: what the kernel is asked, bit for bit, and when the line is on."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_predictions import prediction
from waiting import wait_for

from edge_agent.clock import ManualClock
from edge_agent.errors import SinkError
from edge_agent.sinks.gpio import GpioSink, open_sink
from edge_agent.sinks.gpio_rule import LineRule

GET_CHIPINFO, GET_LINEINFO, GET_LINE, SET_VALUES = 0x8044B401, 0xC100B405, 0xC250B407, 0xC010B40F
LINE_HANDLE = 77


def line_request(offset: int, consumer: bytes, flags: int, active: bool) -> bytes:
    """struct gpio_v2_line_request laid out by the offsets that a C compiler gives for ``linux/gpio.h``."""
    data = bytearray(0x250)
    struct.pack_into("=I", data, 0, offset)
    data[0x100 : 0x100 + len(consumer)] = consumer
    struct.pack_into("=QI", data, 0x120, flags, 1)
    struct.pack_into("=IIQQ", data, 0x140, 2, 0, int(active), 1)
    struct.pack_into("=I", data, 0x230, 1)
    return bytes(data)


class FakeDevice:
    """Two chips; line 4 of the second is called RELAY. Takes down every ioctl as it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bytes]] = []
        self.handles: dict[int, str] = {}
        self.labels = {"/dev/gpiochip0": b"soc", "/dev/gpiochip1": b"expander"}
        self.broken = ""
        self._next = 3

    def chips(self) -> list[str]:
        return list(self.labels)

    def open(self, path: str) -> int:
        if path not in self.labels:
            raise FileNotFoundError(2, "No such file or directory")
        self._next += 1
        self.handles[self._next] = path
        return self._next

    def close(self, handle: int) -> None:
        del self.handles[handle]

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        path = self.handles[handle]
        if self.broken:
            raise OSError(5, self.broken)
        self.asked.append((request, bytes(data)))
        if request == GET_CHIPINFO:
            data[32 : 32 + len(self.labels[path])] = self.labels[path]
            struct.pack_into("=I", data, 64, 8)
        elif request == GET_LINEINFO:
            (offset,) = struct.unpack_from("=I", data, 64)
            name = b"RELAY" if (path, offset) == ("/dev/gpiochip1", 4) else b"other"
            data[: len(name)] = name
        elif request == GET_LINE:
            self.handles[LINE_HANDLE] = path
            struct.pack_into("=i", data, 0x24C, LINE_HANDLE)

    def levels(self) -> list[int]:
        """What the line was set to, the value it began with first."""
        levels = []
        for request, data in self.asked:
            if request == GET_LINE:
                levels.append(data[0x148])
            elif request == SET_VALUES:
                bits, mask = struct.unpack("=QQ", data)
                assert mask == 1
                levels.append(bits)
        return levels


def open_line(device: FakeDevice, clock: ManualClock | None = None, **options: Any) -> GpioSink:
    return open_sink(
        "line.gpio", {"chip": "gpiochip0", "line": 17, "labels": ["hot"], **options}, device=device, clock=clock or ManualClock()
    )


HOT, COLD = prediction(label="hot"), prediction(label="cold")


def test_the_line_is_asked_for_and_driven_bit_for_bit() -> None:
    device = FakeDevice()
    sink = open_line(device)
    for made in (COLD, HOT, HOT, COLD):
        sink.emit(made)
    assert device.asked == [
        (GET_LINE, line_request(17, b"line.gpio", 0x8, False)),
        (SET_VALUES, struct.pack("=QQ", 1, 1)),
        (SET_VALUES, struct.pack("=QQ", 0, 1)),
    ]


def test_active_low_is_left_to_the_kernel() -> None:
    device = FakeDevice()
    open_line(device, active_low=True).emit(HOT)
    assert device.asked == [(GET_LINE, line_request(17, b"line.gpio", 0x8 | 0x2, False)), (SET_VALUES, struct.pack("=QQ", 1, 1))]


def test_chips_go_by_label_and_lines_by_name() -> None:
    device = FakeDevice()
    open_line(device, chip="expander", line="RELAY").emit(HOT)
    assert device.handles == {LINE_HANDLE: "/dev/gpiochip1"}
    assert (GET_LINE, line_request(4, b"line.gpio", 0x8, False)) in device.asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chip": "none"}, "no chip is called none; there are /dev/gpiochip0, /dev/gpiochip1"),
        ({"chip": "/dev/gpiochip9"}, "No such file"),
        ({"line": "LAMP"}, "no line called LAMP"),
    ],
)
def test_what_is_not_there_is_an_error_that_names_it(options: dict[str, Any], message: str) -> None:
    device = FakeDevice()
    sink = open_line(device, **options)
    with pytest.raises(SinkError, match=message):
        sink.emit(HOT)
    assert not device.handles


def test_the_line_is_off_after_closing() -> None:
    device = FakeDevice()
    sink = open_line(device)
    sink.emit(HOT)
    sink.close()
    sink.close()
    assert device.levels() == [0, 1, 0] and not device.handles


def test_a_chip_that_fails_is_asked_anew_and_begins_in_the_right_state() -> None:
    device = FakeDevice()
    sink = open_line(device)
    device.broken = "Input/output error"
    with pytest.raises(SinkError, match=r"gpiochip0, line 17: cannot be driven \(Input/output error\)"):
        sink.emit(HOT)
    device.broken = ""
    sink.emit(HOT)
    assert device.levels() == [0, 1] and device.asked[-1] == (GET_LINE, line_request(17, b"line.gpio", 0x8, True))
    device.broken = "gone"
    sink.close()
    assert not device.handles


def test_a_held_line_falls_by_itself() -> None:
    clock = ManualClock()
    device = FakeDevice()
    sink = open_line(device, clock, hold_ms=20)
    sink.emit(HOT)
    sink.emit(COLD)
    assert device.levels() == [0, 1]
    clock.advance_s(0.021)
    wait_for(lambda: device.levels() == [0, 1, 0])
    sink.emit(HOT)
    sink.close()
    assert device.levels() == [0, 1, 0, 1, 0]


def test_a_pulse_ends_while_the_label_still_holds() -> None:
    clock = ManualClock()
    device = FakeDevice()
    sink = open_line(device, clock, pulse_ms=10)
    sink.emit(HOT)
    clock.advance_s(0.011)
    wait_for(lambda: device.levels() == [0, 1, 0])
    sink.emit(HOT)
    sink.emit(COLD)
    sink.emit(HOT)
    assert device.levels() == [0, 1, 0, 1]
    sink.close()


@pytest.mark.parametrize(
    ("labels", "min_score", "made", "holds"),
    [
        (["hot"], None, HOT, True),
        (["hot"], None, COLD, False),
        (["hot"], 0.8, HOT, False),
        (["hot"], 0.75, HOT, True),
        ([], 0.5, COLD, True),
        ([], 0.5, prediction(score=None), False),
        (["hot"], None, prediction(label=None), False),
        ([], 0.5, prediction(score=float("nan")), False),
    ],
)
def test_when_a_prediction_holds(labels: list[str], min_score: float | None, made: Any, holds: bool) -> None:
    assert LineRule(labels, min_score).holds(made) is holds


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=30), st.integers(0, 3).map(lambda n: 10 * n))
def test_a_level_is_on_exactly_while_the_last_that_held_is_young(steps: list[tuple[int, bool]], hold_ns: int) -> None:
    rule = LineRule(["hot"], None, hold_ns=hold_ns)
    now_ns, last_ns = 1000, -1000
    for wait_ns, hot in steps:
        now_ns += wait_ns
        if hold_ns:
            assert rule.on(now_ns) is (now_ns < last_ns + hold_ns), "without a prediction"
        last_ns = now_ns if hot else last_ns
        expected = now_ns < last_ns + hold_ns if hold_ns else hot
        assert rule.see(HOT if hot else COLD, now_ns) is expected
        assert rule.falls_ns() == (last_ns + hold_ns if expected and hold_ns else None)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=40), st.integers(1, 20), st.sampled_from([0, 15]))
def test_a_pulse_begins_with_the_condition_and_has_its_length(steps: list[tuple[int, bool]], pulse_ns: int, hold_ns: int) -> None:
    rule = LineRule(["hot"], None, pulse_ns=pulse_ns, hold_ns=hold_ns)
    now_ns, last_ns, began_ns, stands = 1000, 0, None, False
    for wait_ns, hot in steps:
        now_ns += wait_ns
        if hold_ns:
            stands = stands and now_ns < last_ns + hold_ns
        elif not hot:
            stands = False
        if hot:
            began_ns = now_ns if not stands else began_ns
            stands, last_ns = True, now_ns
        assert rule.see(HOT if hot else COLD, now_ns) is (began_ns is not None and now_ns < began_ns + pulse_ns)


SIMULATOR = Path("/sys/kernel/config/gpio-sim")


@pytest.fixture
def simulated() -> Iterator[tuple[str, Path]]:
    """A chip of the kernel's gpio-sim: its name, and the file that shows line 3."""
    if not SIMULATOR.is_dir() or not os.access(SIMULATOR, os.W_OK):
        pytest.skip("the kernel's gpio-sim is not here (CONFIG_GPIO_SIM, configfs mounted, root)")
    chip = SIMULATOR / f"edge-{os.getpid()}"
    bank = chip / "bank0"
    bank.mkdir(parents=True)
    try:
        (bank / "num_lines").write_text("8")
        (chip / "live").write_text("1")
        name = (bank / "chip_name").read_text().strip()
        device = (chip / "dev_name").read_text().strip()
        yield name, Path(f"/sys/devices/platform/{device}/{name}/sim_gpio3/value")
    finally:
        (chip / "live").write_text("0")
        bank.rmdir()
        chip.rmdir()


def test_a_simulated_chip_shows_the_label(simulated: tuple[str, Path]) -> None:
    chip, value = simulated
    sink = open_sink("line.gpio", {"chip": chip, "line": 3, "labels": ["hot"]})
    shown = []
    for made in (COLD, HOT, COLD, HOT):
        sink.emit(made)
        shown.append(value.read_text().strip())
    sink.close()
    assert shown == ["0", "1", "0", "1"]
