"""Industrial I/O, on trees as the kernel lays them out: an accelerometer with a buffer, an ADC that is polled."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from edge_agent.clock import ManualClock
from edge_agent.errors import SourceError
from edge_agent.sources.iio import open_source
from edge_agent.sources.iio_scan import ScanElement, ScanType, decode, lay_out, parse_type
from edge_agent.values import Sample


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


DEVICES = "sys/bus/iio/devices"
ADC = {  # as the driver ad7124 shows itself, shortened
    "name": "ad7124-8",
    "in_voltage0-voltage1_raw": "8388608",
    "in_voltage0-voltage1_scale": "0.000298023",
    "in_voltage0-voltage1_offset": "-8388608",
    "in_voltage2_raw": "200",
    "in_voltage10_raw": "100",
    "in_voltage_scale": "0.5",
    "in_temp_input": "23500",
    "sampling_frequency": "10",
}
ACCEL = {  # as the driver lis3dh (st_accel) shows itself
    "name": "lis3dh",
    "label": "accel-display",
    "in_accel_x_raw": "10",
    "in_accel_y_raw": "20",
    "in_accel_z_raw": "1000",
    "in_accel_scale": "0.009581",
    "sampling_frequency": "100",
    "scan_elements/in_accel_x_en": "0",
    "scan_elements/in_accel_x_index": "0",
    "scan_elements/in_accel_x_type": "le:s12/16>>4",
    "scan_elements/in_accel_y_en": "0",
    "scan_elements/in_accel_y_index": "1",
    "scan_elements/in_accel_y_type": "le:s12/16>>4",
    "scan_elements/in_accel_z_en": "1",
    "scan_elements/in_accel_z_index": "2",
    "scan_elements/in_accel_z_type": "le:s12/16>>4",
    "scan_elements/in_timestamp_en": "1",
    "scan_elements/in_timestamp_index": "3",
    "scan_elements/in_timestamp_type": "le:s64/64>>0",
    "buffer/enable": "0",
    "buffer/length": "2",
    "buffer/watermark": "1",
    "trigger/current_trigger": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lay(tmp_path / DEVICES / "iio:device0", ADC)
    lay(tmp_path / DEVICES / "iio:device1", ACCEL)
    (tmp_path / "dev").mkdir()
    os.mkfifo(tmp_path / "dev" / "iio:device1")
    return tmp_path


def said(root: Path, name: str) -> str:
    return (root / DEVICES / "iio:device1" / name).read_text().strip()


@pytest.mark.parametrize("device", [0, "iio:device0", "ad7124-8"])
def test_polled_values_are_converted_in_the_order_asked_for(root: Path, device: Any) -> None:
    channels = ["temp", "voltage10", "voltage0-voltage1"]
    source = open_source("s", {"device": device, "channels": channels, "root": str(root)}, clock=ManualClock())
    source.open()
    sample = source.read(0.0)
    assert sample is not None
    assert sample.values == pytest.approx((23500, 50, 0))
    source.close()


def test_without_channels_all_are_read_in_natural_order(root: Path) -> None:
    source = open_source("s", {"device": 0, "root": str(root)}, clock=ManualClock())
    source.open()
    sample = source.read(0.0)
    assert sample is not None and sample.values == pytest.approx((23500, 0, 100, 50))  # temp, 0-1, 2, 10
    source.close()


def test_polling_keeps_its_pace_reads_anew_and_shows_what_it_missed(root: Path) -> None:
    clock = ManualClock()
    source = open_source("s", {"device": 1, "rate_hz": 10, "channels": ["accel_x"], "root": str(root)}, clock=clock)
    source.open()
    first = source.read(0.0)
    assert first is not None and source.read(0.0) is None, "the next is not due yet"
    (root / DEVICES / "iio:device1" / "in_accel_x_raw").write_text("-30\n")
    clock.advance_s(0.1)
    second = source.read(0.0)
    assert second is not None and second.values == pytest.approx((-30 * 0.009581,))
    clock.advance_s(0.35)
    third = source.read(0.0)
    assert third is not None and (first.seq, second.seq, third.seq) == (0, 1, 4)
    source.close()


def test_a_sensor_that_gives_no_number_is_lost_and_comes_back(root: Path) -> None:
    clock = ManualClock()
    file = root / DEVICES / "iio:device1" / "in_accel_x_raw"
    source = open_source("s", {"device": "accel-display", "channels": ["accel_x"], "root": str(root)}, clock=clock)
    source.open()
    file.write_text("")
    with pytest.raises(SourceError, match="iio:device1 cannot be read"):
        source.read(0.0)
    with pytest.raises(SourceError, match="not open"):
        source.read(0.0)
    file.write_text("5\n")
    source.open()
    assert source.read(0.0) is not None
    source.close()


@pytest.mark.parametrize("mode", ["polled", "buffered"])
def test_what_is_not_there_is_named(root: Path, mode: str) -> None:
    with pytest.raises(SourceError, match="no IIO device 'bmp280'"):
        open_source("s", {"device": "bmp280", "mode": mode, "root": str(root)}).open()
    with pytest.raises(SourceError, match="has no channel accel_w; it has accel_x, accel_y, accel_z"):
        open_source("s", {"device": 1, "mode": mode, "channels": ["accel_w"], "root": str(root)}).open()


class Kernel:
    """The far end of the character device."""

    def __init__(self, root: Path) -> None:
        self._path = root / "dev" / "iio:device1"
        self.fd = -1

    def connect(self) -> None:
        self.fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)

    def give(self, data: bytes) -> None:
        os.write(self.fd, data)

    def unplug(self) -> None:
        os.close(self.fd)


def stored(*values: int) -> bytes:
    """Numbers of 12 bits in the upper part of 16, and rubbish below, as the ABI allows."""
    return b"".join(struct.pack("<H", (value & 0xFFF) << 4 | 0x5) for value in values)


def collect(source: Any, rows: int) -> list[Sample]:
    samples: list[Sample] = []

    def enough() -> bool:
        sample = source.read(0.05)
        if sample is not None:
            samples.append(sample)
        return sum(one.rows for one in samples) >= rows

    wait_for(enough, what=f"{rows} rows")
    return samples


def test_the_buffer_is_set_up_read_in_blocks_and_switched_off(root: Path) -> None:
    options = {"device": "lis3dh", "mode": "buffered", "channels": ["accel_z", "accel_x"], "rate_hz": 200, "buffer_length": 64}
    source = open_source("s", {**options, "watermark": 8, "trigger": "lis3dh-trigger", "root": str(root)})
    holder = os.open(root / "dev" / "iio:device1", os.O_RDONLY | os.O_NONBLOCK)  # so that the far end can be opened first
    kernel = Kernel(root)
    kernel.connect()
    source.open()
    os.close(holder)
    assert [said(root, f"scan_elements/in_{name}_en") for name in ("accel_x", "accel_y", "accel_z", "timestamp")] == ["1", "0", "1", "0"]
    names = ("buffer/enable", "buffer/length", "buffer/watermark", "trigger/current_trigger", "sampling_frequency")
    assert [said(root, name) for name in names] == ["1", "64", "8", "lis3dh-trigger", "200"]
    data = stored(1, -1000, 2, 1000, -2048, 2047)  # x, z by turns
    kernel.give(data[:3])
    assert source.read(0.01) is None, "not a whole scan yet"
    kernel.give(data[3:])
    samples = collect(source, 3)
    values = np.concatenate([np.atleast_2d(sample.values) for sample in samples])
    assert np.allclose(values, np.array([[-1000, 1], [1000, 2], [2047, -2048]]) * 0.009581, rtol=1e-6)
    assert values.dtype == np.float32 and samples[0].period_ns == 5_000_000 and samples[0].seq == 0
    kernel.unplug()
    with pytest.raises(SourceError, match="iio:device1 cannot be read"):
        wait_for(lambda: source.read(0.05) and None)
    assert said(root, "buffer/enable") == "0"


def test_a_form_that_cannot_be_read_is_named(root: Path) -> None:
    (root / DEVICES / "iio:device1/scan_elements/in_accel_x_type").write_text("le:f32/32>>0\n")
    with pytest.raises(SourceError, match=r"'le:f32/32>>0' is not of the form"):
        open_source("s", {"device": 1, "mode": "buffered", "root": str(root)}).open()


def test_elements_lie_at_multiples_of_their_size() -> None:
    def element(name: str, index: int, text: str) -> ScanElement:
        return ScanElement(name, index, parse_type(text))

    layout = lay_out(
        [element("t", 3, "le:s64/64"), element("a", 0, "be:u8/8"), element("b", 1, "le:s24/32>>8"), element("c", 2, "be:s16/16")]
    )
    assert ([one.channel for one in layout.elements], layout.offsets, layout.scan_bytes) == (["a", "b", "c", "t"], (0, 4, 8, 16), 24)


forms = st.builds(
    lambda big, signed, storage, share: ScanType(big, signed, max(1, round(storage * share[0])), storage, 0),
    st.booleans(),
    st.booleans(),
    st.sampled_from([8, 16, 32, 64]),
    st.tuples(st.floats(0.01, 1)),
)


@given(form=forms, data=st.data())
def test_every_form_is_taken_apart_as_it_was_put_together(form: ScanType, data: st.DataObject) -> None:
    shift = data.draw(st.integers(0, form.storage_bits - form.bits))
    form = ScanType(form.big_endian, form.signed, form.bits, form.storage_bits, shift)
    low = -(1 << form.bits - 1) if form.signed else 0
    values = data.draw(st.lists(st.integers(low, low + (1 << form.bits) - 1), min_size=1, max_size=5))
    rubbish = data.draw(st.integers(0, (1 << form.storage_bits) - 1))
    mask = ((1 << form.bits) - 1) << shift
    words = [(rubbish & ~mask) | ((value << shift) & mask) for value in values]
    raw = b"".join(word.to_bytes(form.storage_bytes, "big" if form.big_endian else "little") for word in words)
    text = f"{'be' if form.big_endian else 'le'}:{'s' if form.signed else 'u'}{form.bits}/{form.storage_bits}>>{shift}"
    layout = lay_out([ScanElement("a", 0, parse_type(text))])
    assert decode(layout, raw)[:, 0].tolist() == [float(value) for value in values]


@given(st.text(max_size=20) | st.from_regex(r"(le|be):[su][0-9]{1,3}/[0-9]{1,3}(X[0-9])?(>>[0-9]{1,3})?", fullmatch=True))
def test_a_form_is_read_or_refused(text: str) -> None:
    try:
        form = parse_type(text)
    except ValueError:
        return
    assert form.storage_bits in (8, 16, 32, 64) and form.bits > 0 and form.bits + form.shift <= form.storage_bits


def test_closing_while_nothing_comes_does_not_wait(root: Path) -> None:
    source = open_source("s", {"device": 0, "rate_hz": 0.001, "root": str(root)})
    source.open()
    assert source.read(0.0) is not None
    reader = threading.Thread(target=lambda: source.read(60.0))
    reader.start()
    source.close()
    reader.join(10)
    assert not reader.is_alive()
