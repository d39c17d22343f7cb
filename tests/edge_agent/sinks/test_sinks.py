"""Where predictions go: whole lines in files that rotate, and the publish function."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import SinkError
from edge_agent.sinks import jsonl, mqtt
from edge_agent.sinks.lines import json_line
from edge_agent.values import Prediction, StageTimes

TIMES = StageTimes(1.0, 2.0, 3.0, 4.0, 5.0, 15.0)
PREDICTION = Prediction("line", "m", "1", 0, 0, 3, 99, "ok", 0.75, (0.25, 0.75), TIMES)


def number(index: int) -> Prediction:
    return replace(PREDICTION, window_seq=index)


def numbers_in(path: Path) -> list[int]:
    return [json.loads(line)["window_seq"] for line in path.read_text().splitlines()]


def open_jsonl(path: Path, **options: Any) -> jsonl.JsonlSink:
    return jsonl.open_sink("out", {"path": str(path), **options})


def test_each_prediction_is_one_line_of_json(tmp_path: Path) -> None:
    sink = open_jsonl(tmp_path / "deep" / "out.jsonl")
    sink.emit(PREDICTION)
    sink.emit(number(1))
    lines = (tmp_path / "deep" / "out.jsonl").read_text().splitlines()
    assert len(lines) == 2
    tree = json.loads(lines[0])
    assert tree["label"] == "ok" and tree["scores"] == [0.25, 0.75] and tree["times"]["total_us"] == 15.0


def test_numbers_json_does_not_know_become_null(tmp_path: Path) -> None:
    sink = open_jsonl(tmp_path / "o")
    sink.emit(replace(PREDICTION, label=None, score=None, scores=(math.nan, math.inf, 1.0)))
    tree = json.loads((tmp_path / "o").read_text(), parse_constant=pytest.fail)
    assert tree["scores"] == [None, None, 1.0]


def test_a_reopened_file_is_appended_to(tmp_path: Path) -> None:
    for index in range(3):
        sink = open_jsonl(tmp_path / "o")
        sink.emit(number(index))
        sink.close()
    assert numbers_in(tmp_path / "o") == [0, 1, 2]


@pytest.mark.parametrize("there", ["precious", "precious\nwords", "p" * 100_000])
def test_a_file_that_is_not_ours_loses_nothing(tmp_path: Path, there: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(there)
    sink = open_jsonl(path)
    sink.emit(number(0))
    sink.close()
    *before, line = path.read_text().splitlines()
    assert "\n".join(before) == there
    assert json.loads(line)["pipeline"]


def test_a_pipe_is_no_file_for_lines(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SinkError, match="it is a pipe"):
        open_jsonl(tmp_path / "pipe").emit(number(0))


@pytest.mark.parametrize("torn", ['{"pipeline":"line","window_seq":7,"la', "{"])
def test_half_a_line_of_a_process_that_died_is_cut_off(tmp_path: Path, torn: str) -> None:
    sink = open_jsonl(tmp_path / "o")
    sink.emit(number(0))
    sink.close()
    with (tmp_path / "o").open("a") as file:
        file.write(torn)
    sink = open_jsonl(tmp_path / "o")
    sink.emit(number(1))
    assert numbers_in(tmp_path / "o") == [0, 1]


def test_files_rotate_by_size_and_the_oldest_go(tmp_path: Path) -> None:
    line_bytes = len(json_line(number(0)))
    sink = open_jsonl(tmp_path / "o", rotate_mib=2.5 * line_bytes / (1 << 20), keep=2)
    for index in range(10):
        sink.emit(number(index))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "o.1", "o.2"]
    assert numbers_in(tmp_path / "o.2") == [3, 4, 5] and numbers_in(tmp_path / "o.1") == [6, 7, 8]
    assert numbers_in(tmp_path / "o") == [9]


def test_a_full_disk_is_an_error_leaves_no_half_line_and_passes(tmp_path: Path) -> None:
    """The file-size limit of the process stands in for a full disk: writes come up short, then fail."""
    sink = open_jsonl(tmp_path / "o")
    sink.emit(number(0))
    size = (tmp_path / "o").stat().st_size
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + size // 2, old_limit[1]))
        with pytest.raises(SinkError, match="cannot be written"):
            sink.emit(number(1))
        assert numbers_in(tmp_path / "o") == [0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    sink.emit(number(2))
    assert numbers_in(tmp_path / "o") == [0, 2]


def test_a_folder_that_cannot_be_made_is_a_sink_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot be written"):
        open_jsonl(tmp_path / "file" / "o").emit(PREDICTION)
    with pytest.raises(SinkError, match="cannot be written"):
        open_jsonl(tmp_path).emit(PREDICTION)


def test_lines_survive_the_death_of_the_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_sinks import number, open_jsonl, Path\n"
        "sink = open_jsonl(Path(sys.argv[1]))\n"
        "for index in range(5): sink.emit(number(index))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "o", os.path.dirname(__file__)], check=False)  # noqa: PTH120
    assert done.returncode == -signal.SIGKILL
    assert numbers_in(tmp_path / "o") == [0, 1, 2, 3, 4]


def test_mqtt_publishes_under_its_topic_or_the_pipeline() -> None:
    sent: list[tuple[str, Prediction]] = []
    mqtt.open_sink("out", {}, lambda topic, prediction: sent.append((topic, prediction))).emit(PREDICTION)
    mqtt.open_sink("out", {"topic": "door"}, lambda topic, prediction: sent.append((topic, prediction))).emit(PREDICTION)
    assert sent == [("line", PREDICTION), ("door", PREDICTION)]


def test_mqtt_without_a_broker_says_so() -> None:
    with pytest.raises(SinkError, match=r"\[mqtt\] host"):
        mqtt.open_sink("out", {}, None)
