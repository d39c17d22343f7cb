"""Replays of sound: every coding, files that were cut off, files that are none."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.errors import SourceEnded, SourceError
from edge_agent.sources.replay import ReplaySource, open_source
from edge_agent.sources.wav import read_blocks, read_form
from edge_agent.values import Sample

SOUND = np.array([[0.0, 0.5], [-1.0, 0.25], [0.75, -0.125], [0.5, -0.5], [-0.25, 0.0]])


def riff(
    coding: int, bits: int, data: bytes, channels: int = 2, rate_hz: int = 100, *, extensible: bool = False, size: int | None = None
) -> bytes:
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else coding, channels, rate_hz, rate_hz * frame, frame, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 3, coding) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"LIST" + struct.pack("<I", 3) + b"abc\0"  # of odd length, so it is padded
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def coded(coding: int, bits: int) -> bytes:
    if coding == 3:
        return SOUND.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return (SOUND * 128 + 128).astype(np.uint8).tobytes()
    whole = (SOUND * 2 ** (bits - 1)).astype(np.int64)
    return b"".join(int(value).to_bytes(bits // 8, "little", signed=True) for value in whole.ravel())


def opened(path: Path, clock: Any = None, **options: Any) -> ReplaySource:
    source = open_source("s", {"path": str(path), **options}, clock=clock or ManualClock())
    source.open()
    return source


def play(source: ReplaySource) -> list[Sample]:
    samples = []
    with pytest.raises(SourceEnded):
        while True:
            sample = source.read(0.0)
            assert sample is not None
            samples.append(sample)
    return samples


def values(samples: list[Sample]) -> Any:
    return np.concatenate([np.atleast_2d(sample.values) for sample in samples])


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("coding", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_every_coding_reads_the_same(tmp_path: Path, coding: int, bits: int, extensible: bool) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(coding, bits, coded(coding, bits), extensible=extensible))
    samples = play(opened(path, block=2))
    assert [(sample.seq, sample.rows) for sample in samples] == [(0, 2), (2, 2), (4, 1)]
    assert np.allclose(values(samples), SOUND, atol=1 / 128) and samples[0].values.dtype == np.float32
    assert samples[0].period_ns == 10_000_000 and [sample.t_ns for sample in samples] == [0, 20_000_000, 40_000_000]


def test_what_the_standard_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.arange(16_000, dtype="<i2").tobytes())
    samples = play(opened(path))
    assert len(samples) == 50 and samples[0].rows == 320
    assert np.array_equal(values(samples)[:, 0] * 32768, np.arange(16_000))


def test_a_recorder_that_lost_power_left_what_it_left(tmp_path: Path) -> None:
    data = coded(1, 16)
    for size in (0, 0xFFFFFFFF):
        path = tmp_path / "cut.wav"
        path.write_bytes(riff(1, 16, data[:-3], size=size))
        assert np.allclose(values(play(opened(path))), SOUND[:-1])


def test_pace_limit_and_loop_count_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(1, 16, coded(1, 16)))
    clock = ManualClock()
    source = opened(path, clock, rate_hz=100, block=2, loop=True, limit=7)
    assert source.read(0.0) is None, "a block is there when its last row is"
    clock.advance_s(0.011)
    first = source.read(0.0)
    assert first is not None and (first.rows, first.t_ns) == (2, 0)
    clock.advance_s(1.0)
    rest = play(source)
    assert [(sample.seq, sample.rows) for sample in rest] == [(2, 2), (4, 1), (5, 2)]
    assert np.allclose(values(rest)[-2:], SOUND[:2])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a WAV file"),
        (b"OggS" * 20, "not a WAV file"),
        (riff(1, 16, b"")[:40], "holds no sound"),
        (riff(2, 4, b"12"), "coding 2 with 4 bits cannot be read"),
        (riff(1, 16, b"", channels=0), "0 channels"),
        (riff(1, 16, b""), "holds no samples"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "before the chunk"),
        (b"RIFF\0\0\0\0WAVEfmt \4\0\0\0abcd", "too short"),
    ],
)
def test_what_is_not_sound_is_refused_with_its_reason(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words):
        opened(path).read(0.0)


@given(st.binary(max_size=120) | st.builds(lambda head, tail: head + tail, st.just(riff(1, 16, b"1234")[:30]), st.binary(max_size=60)))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    file = io.BytesIO(content)
    try:
        form = read_form(file)
    except ValueError:
        return
    rows = sum(len(block) for block in read_blocks(file, form, 7))
    assert rows == form.data_bytes // form.frame_bytes <= len(content)
