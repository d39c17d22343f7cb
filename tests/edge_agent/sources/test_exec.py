"""Programs as sources: what they print, how they end, what they leave behind."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_for

from edge_agent.errors import SourceEnded, SourceError
from edge_agent.sources.exec import ExecSource, open_source
from edge_agent.values import Sample


def running(code: str, **options: Any) -> ExecSource:
    source = open_source("s", {"command": [sys.executable, "-S", "-c", code], **options})
    source.open()
    return source


def collect(source: ExecSource, rows: int) -> list[Sample]:
    samples: list[Sample] = []

    def enough() -> bool:
        sample = source.read(0.1)
        if sample is not None:
            samples.append(sample)
        return sum(one.rows for one in samples) >= rows

    wait_for(enough, what=f"{rows} rows")
    return samples


def until_error(source: ExecSource) -> Any:
    with pytest.raises((SourceError, SourceEnded)) as caught:
        wait_for(lambda: source.read(0.1) and None)
    return caught


WAIT = "import sys, time; sys.stdout.flush(); time.sleep(600)"


def test_lines_become_samples_and_noise_is_counted() -> None:
    source = running('print(\'1,2\\nboot\\n[3, 4]\\n{"values": [5, 6], "label": 1}\');' + WAIT)
    samples = collect(source, 3)
    assert [(sample.seq, sample.values, sample.label) for sample in samples] == [(0, (1, 2), None), (1, (3, 4), None), (2, (5, 6), 1)]
    assert source.garbage == 1
    source.close()


def test_flat_raw_records_come_in_blocks_and_torn_ones_are_put_together() -> None:
    data = struct.pack("<8h", *range(8))
    code = f"import os, sys; d={data!r}; os.write(1, d[:5]); os.write(1, d[5:]);" + WAIT
    source = running(code, framing="raw", dtype="int16", shape=[2], rate_hz=100)
    samples = collect(source, 4)
    assert np.concatenate([np.atleast_2d(sample.values) for sample in samples]).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert [sample.seq for sample in samples] == list(np.cumsum([0, *[sample.rows for sample in samples]])[:-1])
    assert all(sample.period_ns == 10_000_000 for sample in samples)
    source.close()


def test_raw_frames_come_one_by_one_in_their_own_type() -> None:
    code = "import os; os.write(1, bytes(range(24)));" + WAIT
    source = running(code, framing="raw", dtype="uint8", shape=[2, 2, 3])
    frames = collect(source, 2)
    assert [(frame.rows, frame.values.shape, frame.values.dtype) for frame in frames] == [(1, (2, 2, 3), np.uint8)] * 2
    assert frames[1].values.ravel().tolist() == list(range(12, 24))
    source.close()


def test_messages_after_their_length() -> None:
    first, second = struct.pack(">2f", 1, 2), struct.pack(">2f", 3, 4)
    stream = b"".join(struct.pack(">I", len(one)) + one for one in (first, b"odd", second + first))
    source = running(f"import os; os.write(1, {stream!r});" + WAIT, framing="prefixed", dtype="float32", byte_order="big", shape=[2])
    samples = collect(source, 3)
    assert [(sample.rows, sample.values.tolist()) for sample in samples] == [(1, [1, 2]), (2, [[3, 4], [1, 2]])]
    assert source.garbage == 1
    source.close()


def test_a_length_that_cannot_be_ends_the_stream() -> None:
    source = running("import os; os.write(1, b'\\xff' * 8);" + WAIT, framing="prefixed")
    caught = until_error(source)
    assert caught.type is SourceError and "4294967295 bytes" in str(caught.value)
    assert source.pid == 0


def test_the_end_of_a_program_tells_its_status_and_last_words_and_it_starts_again() -> None:
    source = running("import sys; print(7, flush=True); sys.exit('sensor: ' + 'x' * 9000 + ' no such bus')")
    assert collect(source, 1)[0].values == (7,)
    caught = until_error(source)
    assert caught.type is SourceError
    assert "ended with status 1" in str(caught.value) and str(caught.value).endswith("no such bus")
    assert len(str(caught.value)) < 3000, "of what it said only the end is kept"
    source.open()
    again = collect(source, 1)[0]
    assert (again.seq, again.values) == (1, (7,)), "numbering goes on"
    source.close()


def test_a_killed_program_is_named_so() -> None:
    source = running("import os; os.kill(os.getpid(), 9)")
    assert "was ended by SIGKILL" in str(until_error(source).value)


def test_a_program_that_is_done_can_be_the_end() -> None:
    source = running("print(1)", restart=False)
    collect(source, 1)
    assert until_error(source).type is SourceEnded
    failing = running("import sys; sys.exit(3)", restart=False)
    assert until_error(failing).type is SourceError, "a failure is not an end"


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def test_closing_ends_a_deaf_program_and_its_children() -> None:
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: print(os.getpid(), child, sep=',', flush=True)\n"
        "time.sleep(600)"
    )
    source = running(code)
    pids = [int(number) for number in collect(source, 1)[0].values]
    assert all(map(alive, pids))
    source.close()
    wait_for(lambda: not any(map(alive, pids)))
    with pytest.raises(SourceError, match="does not run"):
        source.read(0.0)


def test_a_program_hears_a_polite_request_although_this_process_does_not(tmp_path: Path) -> None:
    said = tmp_path / "said"
    launcher = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "from edge_agent.sources.exec import open_source\n"
        f"code = 'trap \"echo bye > {said}; exit 0\" TERM; echo 1; while :; do sleep 0.05; done'\n"
        "source = open_source('s', {'command': ['/bin/sh', '-c', code]})\n"
        "source.open()\n"
        "while source.read(1.0) is None: pass\n"
        "source.close()\n"
    )
    import subprocess

    subprocess.run([sys.executable, "-c", launcher], check=True, timeout=60)
    assert said.read_text() == "bye\n"


def test_a_program_dies_with_the_process_that_reads_it() -> None:
    import subprocess

    launcher = (
        "import time\n"
        "from edge_agent.sources.exec import open_source\n"
        "source = open_source('s', {'command': ['/bin/sleep', '600']})\n"
        "source.open()\n"
        "print(source.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        pid = int(reader.stdout.readline())
        assert alive(pid)
        reader.kill()
        wait_for(lambda: not alive(pid))


def test_no_shell_and_a_small_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    code = "import os, sys; print(len(set(os.environ) - {'PATH', 'LANG', 'LC_CTYPE', 'MINE'}), len(sys.argv), sep=',');"
    command = [sys.executable, "-S", "-c", code + WAIT, "$(touch x); a b"]
    source = open_source("s", {"command": command, "environment": {"MINE": "2"}})
    source.open()
    assert collect(source, 1)[0].values == (0, 2)
    source.close()


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(SourceError, match="cannot be started"):
        open_source("s", {"command": ["/no/such/program"]}).open()


def test_no_descriptors_are_left_behind() -> None:
    source = running("print(1)")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        source.open()
        until_error(source)
    source.close()
    assert len(list(Path("/proc/self/fd").iterdir())) < before
