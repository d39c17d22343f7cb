"""Sound through ``arecord``, faked on PATH; and through the real one where it is installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_for

from edge_agent.clock import ManualClock
from edge_agent.errors import RuntimeMissing, SourceError
from edge_agent.sources.audio import AudioSource, open_source
from edge_agent.sources.needs import missing_need
from edge_agent.values import Sample


@pytest.fixture
def arecord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a program in arecord's place that notes its arguments and then runs the given code."""

    def install(code: str) -> Path:
        program = tmp_path / "bin" / "arecord"
        program.parent.mkdir(exist_ok=True)
        lines = ["import os, struct, sys, time", f"open({str(tmp_path / 'asked')!r}, 'w').write(' '.join(sys.argv[1:]))", code]
        program.write_text(f"#!{sys.executable} -S\n" + "\n".join(lines) + "\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return tmp_path / "asked"

    return install


def collect(source: AudioSource, blocks: int) -> list[Sample]:
    samples: list[Sample] = []

    def enough() -> bool:
        sample = source.read(0.1)
        if sample is not None:
            samples.append(sample)
        return len(samples) >= blocks

    wait_for(enough, what=f"{blocks} blocks")
    return samples


def opened(**options: Any) -> AudioSource:
    source = open_source("s", options)
    source.open()
    return source


SLEEP = "\ntime.sleep(600)"


def test_sound_comes_in_blocks_from_minus_one_to_one(arecord: Any) -> None:
    asked = arecord("os.write(1, struct.pack('<10h', 0, 16384, -32768, 32767, 1, -1, 2, -2, 3, -3))" + SLEEP)
    source = opened(device="hw:1,0", rate_hz=8000, channels=2, block=2)
    first, second = collect(source, 2)
    assert asked.read_text() == "-q -t raw -f S16_LE -r 8000 -c 2 -D hw:1,0"
    assert first.values.dtype == np.float32
    assert first.values.tolist() == [[0, 0.5], [-1, 32767 / 32768]]
    assert (first.seq, first.rows, second.seq, first.period_ns) == (0, 2, 2, 125_000)
    assert second.t_ns >= first.t_ns + 125_000
    source.close()


def test_samples_of_32_bits(arecord: Any) -> None:
    asked = arecord("os.write(1, struct.pack('<2i', 1 << 30, -1 << 31))" + SLEEP)
    source = opened(format="S32_LE", block=1)
    assert [sample.values.tolist() for sample in collect(source, 2)] == [[0.5], [-1.0]]
    assert "S32_LE" in asked.read_text()
    source.close()


def test_what_the_sound_system_lost_shows_as_a_gap(arecord: Any) -> None:
    arecord(
        "os.write(1, bytes(8)); sys.stderr.write('overrun!!! (at least 1.500 ms long)\\n'); sys.stderr.flush(); time.sleep(0.2)\n"
        "os.write(1, bytes(8))" + SLEEP
    )
    source = opened(rate_hz=8000, block=4)
    first, second = collect(source, 2)
    assert (first.seq, second.seq) in ((0, 16), (12, 16)), "the message and the sound go different ways"
    source.close()


def test_an_unplugged_microphone_is_an_error_with_its_reason_and_comes_back(arecord: Any) -> None:
    arecord("sys.exit('arecord: pcm_read:2145: read error: No such device')")
    source = opened()
    with pytest.raises(SourceError, match=r"default was lost: arecord ended with status 1: .*No such device"):
        wait_for(lambda: source.read(0.1) and None)
    with pytest.raises(SourceError, match="is not open"):
        source.read(0.0)
    arecord("os.write(1, bytes(640))" + SLEEP)
    source.open()
    assert collect(source, 1)[0].rows == 320
    source.close()


def test_a_device_that_gives_nothing_for_long_is_opened_anew(arecord: Any) -> None:
    arecord("time.sleep(600)")
    clock = ManualClock()
    source = open_source("s", {"silence_s": 5}, clock=clock)
    source.open()
    clock.advance_s(6)
    with pytest.raises(SourceError, match="gave nothing for 5 s"):
        source.read(0.0)


def test_without_arecord_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeMissing, match="apt install alsa-utils"):
        opened()
    assert missing_need("audio", {}) == ("kind", "arecord is not installed: apt install alsa-utils")


@pytest.mark.skipif(shutil.which("arecord") is None, reason="needs arecord (alsa-utils)")
def test_the_real_arecord() -> None:
    source = opened(device="null", rate_hz=16_000, channels=2)
    samples = collect(source, 3)
    assert [sample.seq for sample in samples] == [0, 320, 640]
    assert all(sample.values.shape == (320, 2) and abs(sample.values).max() <= 1 for sample in samples)
    source.close()
