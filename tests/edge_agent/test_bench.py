"""The bench of one file: real runs, every kind of file, no leftovers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from models import tiny_bundle, tiny_onnx, tiny_tflite

from edge_agent.__main__ import main
from edge_agent.bench import bench_file, percentile, random_array
from edge_agent.bench_apart import bench_apart
from edge_agent.errors import EdgeError, ModelError
from edge_agent.values import DTYPES, TensorSpec


@pytest.mark.parametrize("kind", ["onnx", "tflite", "tflite int8", "bundle"])
def test_every_kind_of_file_is_measured(tmp_path: Path, kind: str) -> None:
    if kind == "bundle":
        path = tiny_bundle(tmp_path / "a.edgemodel").path
    elif kind == "onnx":
        path = tiny_onnx(tmp_path / "a.onnx", batch="n")
    else:
        path = tiny_tflite(tmp_path / "a.tflite", int8="int8" in kind)
    result = bench_file(path, runs=20, warmup=2)
    assert result.runs == 20 and result.file_bytes == path.stat().st_size
    assert 0 < result.p50_us <= result.p95_us <= result.p99_us <= result.max_us
    assert result.mean_us <= result.max_us and result.init_ms > 0 and result.peak_rss_mib > 10
    assert result.inputs == ("golden" if kind == "bundle" else "random")
    assert result.runtime in ("onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "tflite-runtime") and result.runtime_version


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    bench_file(tiny_bundle(tmp_path / "a.edgemodel").path, runs=1, warmup=0)
    assert list((tmp_path / "t").iterdir()) == []


def test_what_cannot_be_measured_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.edgemodel").write_bytes(b"no bundle")
    for path in (tmp_path / "a.edgemodel", tmp_path / "none.onnx", tmp_path / "a.pt"):
        with pytest.raises(EdgeError, match=path.name):
            bench_file(path)
    with pytest.raises(ModelError, match="runs and threads"):
        bench_file(tiny_onnx(tmp_path / "a.onnx"), runs=0)


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


def test_the_command_measures_each_model_in_a_process_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tiny_onnx(tmp_path / "a.onnx"), tiny_bundle(tmp_path / "b.edgemodel", runtime="tflite").path
    assert main(["bench", str(first), str(second), "--runs", "5", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [(r["runtime"], r["runs"]) for r in results] == [("onnxruntime", 5), ("ai-edge-litert", 5)]
    assert all(r["peak_rss_mib"] > 10 for r in results)


def test_a_file_that_is_no_model_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model")
    assert main(["bench", str(tmp_path / "a.onnx")]) == 1
    said = capsys.readouterr().err
    assert "a.onnx" in said
    assert "Traceback" not in said


def test_a_model_that_kills_its_process_is_told_with_the_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(ModelError, match="SIGSEGV"):
        bench_apart(tiny_onnx(tmp_path / "a.onnx"), runs=1, warmup=0, threads=1)
