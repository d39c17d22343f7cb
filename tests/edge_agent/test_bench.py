"""The bench: real runs, every kind of file, rounds side by side, disturbances told, no leftovers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import tiny_bundle, tiny_onnx, tiny_tflite

from edge_agent.__main__ import main
from edge_agent.bench import BenchResult, Loaded, OpTime, Round, by_operator, percentile, random_array, summarize
from edge_agent.bench_apart import Apart
from edge_agent.bench_disturbance import Disturbance
from edge_agent.bench_rounds import Plan, measure
from edge_agent.bench_subject import Subject
from edge_agent.bench_table import table
from edge_agent.errors import ModelError
from edge_agent.runtimes.options import RuntimeOptions
from edge_agent.values import DTYPES, TensorSpec

LOADED = Loaded("onnxruntime", "1.23.0", "random", 5.0, 100.0, 40.0, 47.0, 9.0)


def subject(path: Path, **options: Any) -> Subject:
    return Subject(path.name, str(path), path.stat().st_size, RuntimeOptions(**options))


class Quiet(Disturbance):
    """Sees nothing; what the test machine does besides is not the test's business."""

    def __init__(self) -> None:
        super().__init__(None, Path("/nonexistent"))

    def after(self, round_: Round) -> tuple[str, ...]:
        return ()


def bench_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, Any]]:
    assert main(["bench", *map(str, arguments), "--json"]) == 0
    told: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return told


def test_every_kind_of_file_is_measured_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [
        tiny_onnx(tmp_path / "a.onnx", batch="n"),
        tiny_tflite(tmp_path / "b.tflite", int8=True),
        tiny_bundle(tmp_path / "c.edgemodel").path,
        tiny_bundle(tmp_path / "d.edgemodel", runtime="tflite").path,
    ]
    results = bench_json(capsys, *paths, "--runs", 23, "--warmup", 2)
    assert [(r["model"], r["file_bytes"], r["inputs"]) for r in results] == [
        (str(path), path.stat().st_size, "golden" if path.suffix == ".edgemodel" else "random") for path in paths
    ]
    assert [r["runtime"] for r in results] == ["onnxruntime", "ai-edge-litert"] * 2
    for r in results:
        assert 0 < r["p50_us"] <= r["p95_us"] <= r["p99_us"] <= r["max_us"] and r["mean_us"] <= r["max_us"]
        assert r["rounds"] == 10 and r["init_ms"] > 0 and r["first_us"] > 0 and r["cpu_us"] > 0
        assert 10 < r["base_mib"] < r["loaded_mib"] <= r["peak_rss_mib"] + 1
    assert results[0]["ratio"] == 1.0


def test_threads_are_compared_and_operators_told_where_the_runtime_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = bench_json(
        capsys, tiny_onnx(tmp_path / "a.onnx"), tiny_tflite(tmp_path / "b.tflite"), "--runs", 3, "--threads", "1,2", "--ops"
    )
    assert [r["threads"] for r in results] == [1, 2, 1, 2]
    for r in results[:2]:
        assert {op["op"] for op in r["ops"] if not op["node"]} == {"Gemm", "Softmax"} and r["ops_note"] == ""
        assert all(op["us"] >= 0 for op in r["ops"]) and len([op for op in r["ops"] if op["node"]]) == 2
    assert all(r["ops"] == [] and "no times by operator" in r["ops_note"] for r in results[2:])


def test_a_time_is_kept_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = bench_json(capsys, tiny_onnx(tmp_path / "a.onnx"), "--seconds", "0.05")
    assert result["runs"] >= 10 and result["rounds"] == 10


@given(st.integers(1, 500), st.integers(1, 20))
def test_turns_share_the_runs_out_whole(runs: int, rounds: int) -> None:
    plan = Plan(runs, rounds=rounds)
    shares = [plan.of_turn(turn)[0] for turn in range(plan.turns)]
    assert sum(shares) == runs and min(shares) >= 1 and max(shares) - min(shares) <= 1


def test_a_plan_that_says_nothing_lasts_a_second() -> None:
    assert sum(Plan().of_turn(turn)[1] for turn in range(Plan().turns)) == pytest.approx(1.0)
    assert Plan(7, seconds=2.0).of_turn(0) == (1, 2.0 / 7)


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    bench_json(capsys, tiny_bundle(tmp_path / "a.edgemodel").path, "--runs", 1, "--warmup", 0, "--ops")
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize("name", ["a.edgemodel", "a.onnx", "a.tflite", "empty.onnx"])
def test_a_file_that_is_no_model_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"no model")
    assert main(["bench", str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert name in said and "Traceback" not in said


@pytest.mark.parametrize("words", [("--runs", "0"), ("--seconds", "0"), ("--seconds", "nan"), ("--threads", "1,0"), ("--warmup", "-1")])
def test_numbers_that_make_no_sense_are_bad_usage(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "a.onnx", *words])
    assert caught.value.code == 2 and words[1].split(",")[-1] in capsys.readouterr().err


def test_a_model_that_kills_its_process_is_told_with_the_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'the last words' >&2\nkill -SEGV $$\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(ModelError, match=r"a.onnx: the benchmark was killed by SIGSEGV: the last words"):
        measure([subject(tiny_onnx(tmp_path / "a.onnx"))], Plan(1), Quiet())


def test_a_model_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with Apart(subject(tiny_onnx(tmp_path / "a.onnx")), timeout_s=0.2) as apart, pytest.raises(ModelError, match="no answer within"):
        apart.load(0)


def rounds(*times: Sequence[float], disturbed: Sequence[int] = ()) -> list[Round]:
    return [Round(tuple(t), 2 * sum(t), 0, ("preempted",) if i in disturbed else ()) for i, t in enumerate(times)]


def summed(mine: Sequence[Round], first: Sequence[Round]) -> BenchResult:
    return summarize(Subject("a", "a", 1, RuntimeOptions()), LOADED, mine, first, 50.0, (), "")


def test_disturbed_rounds_are_left_out_while_most_are_clean() -> None:
    mine = rounds([10, 10], [900, 900], [20, 20], disturbed=[1])
    result = summed(mine, mine)
    assert (result.p50_us, result.max_us, result.runs, result.disturbed_rounds, result.disturbed) == (10, 20, 4, 1, ("preempted",))
    assert result.cpu_us == 30.0
    all_counted = summed(rounds([10], [900], [20], disturbed=[0, 1]), rounds([10], [900], [20]))
    assert (all_counted.runs, all_counted.max_us, all_counted.disturbed_rounds) == (3, 900, 2)


def test_the_ratio_is_of_rounds_that_ran_side_by_side() -> None:
    first = rounds([10], [1000], [10])
    assert summed(rounds([20], [2000], [5]), first).ratio == 2.0


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([7.0], 99) == 7


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_random_inputs_repeat_and_fit(dtype: str) -> None:
    spec = TensorSpec("x", dtype, (None, 3))
    array = random_array(spec)
    assert array.shape == (1, 3) and array.dtype == np.dtype(dtype)
    assert np.array_equal(array, random_array(spec))


def test_operators_add_up_their_nodes() -> None:
    nodes = [OpTime("Conv", "a", 1, 5.0), OpTime("Relu", "b", 1, 6.0), OpTime("Conv", "c", 1, 2.0)]
    assert by_operator(nodes) == [OpTime("Conv", "", 2, 7.0), OpTime("Relu", "", 1, 6.0)]


class Board:
    """A board that is throttled or not."""

    def __init__(self, *why: str) -> None:
        self.why = why

    def temperature_c(self) -> float | None:
        return None

    def throttling(self) -> tuple[str, ...] | None:
        return self.why

    def power_mode(self) -> str | None:
        return None


def frequencies(root: Path, now_khz: int, limit_khz: int = 1_500_000) -> None:
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("scaling_cur_freq", now_khz), ("scaling_max_freq", limit_khz), ("cpuinfo_max_freq", 1_500_000)):
        (folder / name).write_text(f"{value}\n")


def test_a_board_that_slows_down_is_told(tmp_path: Path) -> None:
    calm = Round((50_000.0,), 50_000.0, 0)
    frequencies(tmp_path, 1_500_000)
    disturbance = Disturbance(Board(), tmp_path)
    assert disturbance.after(calm) == ()
    frequencies(tmp_path, 600_000)
    assert disturbance.after(calm) == ("frequency",)
    frequencies(tmp_path, 1_500_000)
    assert disturbance.after(calm) == ()
    frequencies(tmp_path, 1_000_000, limit_khz=1_000_000)
    assert Disturbance(Board("under-voltage"), tmp_path).after(calm) == ("frequency", "under-voltage")


def test_other_programs_are_told() -> None:
    disturbance = Disturbance(None, Path("/nonexistent"), load=lambda: (100.0, 0.0, 0.0))
    assert "load 100.0" in disturbance.at_start()
    assert Disturbance(None, Path("/nonexistent"), load=lambda: (0.0, 0.0, 0.0)).at_start() == ""
    assert disturbance.after(Round((1000.0,) * 100, 1.0, 1)) == ()
    assert disturbance.after(Round((1000.0,) * 100, 1.0, 30)) == ("preempted",)


def test_the_table_stays_within_100_columns() -> None:
    mine = rounds([123_456.7] * 3, [99.9], disturbed=[0])
    long = replace(summed(mine, mine), file="/a/very/long/path/" + "x" * 80, notes=("a note " * 40,), ops=(OpTime("Conv", "", 3, 1e6),))
    lines = table([long, replace(long, ops_note="none", ops=())])
    assert max(map(len, lines)) <= 100 and any("of 2 rounds were disturbed" in line for line in lines)


def test_an_agent_that_does_not_run_cannot_be_asked_for_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "digits", "--socket", str(tmp_path / "none.sock")]) == 4
    assert "'digits' is not a model file" in capsys.readouterr().err
