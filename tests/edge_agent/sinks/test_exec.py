"""Predictions to programs: fed, started for each, dying, hanging, flooding, and leaving nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_predictions import prediction
from waiting import wait_for

from edge_agent.errors import SinkError, SinkRefused
from edge_agent.sinks.exec import open_sink

PREAMBLE = "import json, os, pathlib, signal, subprocess, sys, time\n"


@pytest.fixture
def sinks() -> Iterator[list[Any]]:
    opened: list[Any] = []
    yield opened
    for sink in opened:
        sink.close()


@pytest.fixture
def fed(tmp_path: Path, sinks: list[Any]) -> Any:
    """``fed(code, **options)``: a sink that feeds a Python program, which finds its folder in ``here``."""

    def open_program(code: str, **options: Any) -> Any:
        here = f"here = pathlib.Path({str(tmp_path)!r})\n"
        sink = open_sink("out", {"command": [sys.executable, "-c", PREAMBLE + here + code], **options})
        sinks.append(sink)
        return sink

    return open_program


COPY = "with (here / 'seen').open('a') as out:\n    for line in sys.stdin: out.write(line); out.flush()"


def numbers_in(path: Path) -> list[int]:
    return [json.loads(line)["window_seq"] for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_one_program_is_fed_and_reads_everything_before_it_ends(fed: Any, tmp_path: Path) -> None:
    sink = fed(COPY)
    for number in range(100):
        sink.emit(prediction(number))
    sink.close()
    assert numbers_in(tmp_path / "seen") == list(range(100))


def test_a_program_that_ends_is_told_with_its_last_words_and_started_again_later(fed: Any, tmp_path: Path) -> None:
    sink = fed("print('first words')\nprint('no such table', flush=True)\nsys.exit(3)")
    errors: list[SinkError] = []
    wait_for(lambda: _emit(sink, errors) and len(errors) == 3)
    assert "ended with status 3: no such table" in str(errors[0])
    assert errors[0].retryable and [error.pause_s for error in errors] == [0.5, 1.0, 2.0]


def _emit(sink: Any, errors: list[SinkError]) -> bool:
    """One prediction; early ones may still go into the pipe of a program that is about to end."""
    try:
        sink.emit(prediction())
    except SinkError as error:
        errors.append(error)
    return True


def test_a_killed_program_is_named_by_its_signal(fed: Any) -> None:
    sink = fed("os.kill(os.getpid(), signal.SIGSEGV)")
    errors: list[SinkError] = []
    wait_for(lambda: _emit(sink, errors) and errors)
    assert "was killed by SIGSEGV" in str(errors[0])


def test_a_program_that_does_not_read_is_killed_with_its_children(fed: Any, tmp_path: Path) -> None:
    code = "child = subprocess.Popen(['sleep', '600'])\n(here / 'pids').write_text(f'{os.getpid()} {child.pid}')\ntime.sleep(600)"
    sink = fed(code, timeout_s=0.1)
    sink.emit(prediction())
    wait_for(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text())
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    with pytest.raises(SinkError, match=r"took not all of a line in 0\.1 s"):
        for _ in range(1000):
            sink.emit(prediction(label="x" * 10_000))
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_program_that_floods_its_output_goes_on(fed: Any, tmp_path: Path) -> None:
    code = "for line in sys.stdin:\n    (here / 'count').open('a').write('.')\n    print('noise ' * 5000, flush=True)"
    sink = fed(code)
    for number in range(50):
        sink.emit(prediction(number, label="x" * 5000))
    wait_for(lambda: _emit(sink, []) and len((tmp_path / "count").read_text()) >= 50)


def test_a_program_that_ignores_the_end_of_its_input_is_ended(fed: Any, tmp_path: Path) -> None:
    sink = fed("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n(here / 'pid').write_text(str(os.getpid()))\nwhile True: time.sleep(1)")
    sink.emit(prediction())
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    sink.close()
    assert not alive(pid)


def test_closing_from_another_thread_ends_a_write_that_is_stuck(fed: Any) -> None:
    sink = fed("time.sleep(600)", timeout_s=60)
    stuck, errors = threading.Event(), []

    def feed() -> None:
        try:
            for number in range(1000):
                if number == 5:
                    stuck.set()
                sink.emit(prediction(label="x" * 10_000))
        except SinkError as error:
            errors.append(error)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    assert stuck.wait(10)
    sink.close()
    thread.join(10)
    assert not thread.is_alive() and len(errors) == 1


@pytest.mark.parametrize("each", [False, True])
def test_what_cannot_be_started_is_an_error_that_may_pass(sinks: list[Any], each: bool) -> None:
    sink = open_sink("out", {"command": ["/nowhere/tool"], "each": each})
    sinks.append(sink)
    with pytest.raises(SinkError, match=r"/nowhere/tool cannot be started \(No such file or directory\)") as raised:
        sink.emit(prediction())
    assert raised.value.retryable


def test_each_prediction_its_own_program(fed: Any, tmp_path: Path) -> None:
    sink = fed("(here / 'seen').open('a').write(sys.stdin.read())", each=True)
    for number in range(3):
        sink.emit(prediction(number))
        assert numbers_in(tmp_path / "seen") == list(range(number + 1))


def test_a_program_that_fails_has_refused_its_prediction(fed: Any) -> None:
    sink = fed("print('disk is away', file=sys.stderr)\nsys.exit(9)", each=True)
    with pytest.raises(SinkRefused, match="ended with status 9: disk is away"):
        sink.emit(prediction())


def test_a_program_that_does_not_end_is_killed_with_its_children(fed: Any, tmp_path: Path) -> None:
    code = "child = subprocess.Popen(['sleep', '600'])\n(here / 'pids').write_text(f'{os.getpid()} {child.pid}')\ntime.sleep(600)"
    sink = fed(code, each=True, timeout_s=2)
    with pytest.raises(SinkRefused, match="did not end within 2 s"):
        sink.emit(prediction())
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_no_program_is_started_after_the_end(fed: Any, tmp_path: Path) -> None:
    sink = fed("(here / 'seen').open('a').write(sys.stdin.read())", each=True)
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.emit(prediction())
    assert not (tmp_path / "seen").exists()


def test_what_a_program_leaves_running_does_not_hold_the_sink(fed: Any, tmp_path: Path) -> None:
    code = "child = subprocess.Popen(['sleep', '600'])\n(here / 'pid').write_text(str(child.pid))"
    fed(code, each=True, timeout_s=60).emit(prediction())
    wait_for(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_no_shell_sees_the_words(sinks: list[Any], tmp_path: Path) -> None:
    sink = open_sink("out", {"command": ["touch", f"{tmp_path}/a; touch {tmp_path}/b"], "each": True})
    sinks.append(sink)
    with pytest.raises(SinkRefused):
        sink.emit(prediction())
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_hundred_runs(sinks: list[Any]) -> None:
    sink = open_sink("out", {"command": ["true"], "each": True})
    sinks.append(sink)
    sink.emit(prediction())
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(100):
        sink.emit(prediction())
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("each", [False, True])
def test_a_pipeline_that_is_killed_leaves_no_program(tmp_path: Path, each: bool) -> None:
    """The killed process ignores SIGTERM as pipelines do; its program ignores the end of its input and still can be terminated."""
    program = f"import os, pathlib, signal, time; assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(600)"  # noqa: E501
    code = (
        "import signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "from edge_agent.sinks.exec import open_sink\nfrom made_predictions import prediction\n"
        f"sink = open_sink('out', {{'command': [sys.executable, '-c', {program!r}], 'each': {each}, 'timeout_s': 600}})\n"
        "sink.emit(prediction())\nsignal.pause()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_for(lambda: not alive(pid))
