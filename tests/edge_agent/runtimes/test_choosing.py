"""Which runtime may run a model, and what is said when none may."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import tiny_answer, tiny_bundle

from edge_agent.bundle.archive import unpack
from edge_agent.bundle.golden import load_cases, within
from edge_agent.bundle.manifest import RuntimeRequirement
from edge_agent.errors import ModelError, RuntimeMissing
from edge_agent.runtimes import choose, onnx, tflite
from edge_agent.runtimes.distributions import NotInstalled, version_of
from edge_agent.runtimes.installed import installed, onnx_library, tflite_library
from edge_agent.values import TensorSpec
from edge_agent.versions import version_key


def versions(**known: str) -> Callable[[str], str]:
    """A stand-in for the installed distributions."""

    def version_of(name: str) -> str:
        if name.replace("-", "_") not in known:
            raise NotInstalled(name)
        return known[name.replace("-", "_")]

    return version_of


@pytest.mark.parametrize("options", [{}, {"runtime": "tflite"}, {"runtime": "tflite", "int8": True}], ids=["onnx", "tflite", "tflite int8"])
@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
def test_a_bundles_model_is_proven_by_its_golden_cases(tmp_path: Path, options: dict[str, Any], wrong: bool) -> None:
    manifest = unpack(tiny_bundle(tmp_path / "a.edgemodel", wrong=wrong, **options).path, tmp_path / "f")
    runtime = choose.load_runtime(manifest, tmp_path / "f")
    assert [within(case, runtime.run(case.inputs)) for case in load_cases(manifest, tmp_path / "f")] == [not wrong] * 2


def test_installed_runtimes_are_told_without_importing_them() -> None:
    code = (
        "import sys, json; from edge_agent.runtimes.installed import installed; from edge_agent import bench\n"
        "print(json.dumps([installed(), [m for m in ('numpy', 'onnxruntime', 'ai_edge_litert') if m in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, imported = __import__("json").loads(done.stdout)
    assert told["onnx"] == metadata.version("onnxruntime") and "tflite" in told
    assert imported == []


def test_preimport_brings_the_library_in_with_telemetry_off_and_forgives_absence() -> None:
    code = (
        "import os, sys; from edge_agent.runtimes.choose import preimport\n"
        "preimport(('onnx', 'tflite', 'unheard-of'))\n"
        "print('onnxruntime' in sys.modules, 'numpy' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "1"] and done.stderr == ""


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        (RuntimeRequirement("onnx", "999.1"), "needs onnx 999.1 or newer"),
        (RuntimeRequirement("onnx", "1.17", (metadata.version("onnxruntime"),)), "must not run on onnx"),
    ],
)
def test_unfit_versions_are_refused_with_what_to_do(tmp_path: Path, requirement: RuntimeRequirement, words: str) -> None:
    manifest = replace(tiny_bundle(tmp_path / "a.edgemodel").manifest, runtime=requirement)
    with pytest.raises(RuntimeMissing, match=words):
        choose.load_runtime(manifest, tmp_path)


def test_nothing_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    for module in (choose, onnx):
        monkeypatch.setattr(module, "onnx_library", lambda: None)
    for module in (choose, tflite):
        monkeypatch.setattr(module, "tflite_library", lambda: None)
    for name in ("onnx", "tflite"):
        with pytest.raises(RuntimeMissing, match=rf"pip install 'edge-runtime\[{name}\]'"):
            choose.check_requirement(RuntimeRequirement(name))
    with pytest.raises(RuntimeMissing, match=r"edge-runtime\[onnx\]"):
        onnx.import_onnxruntime()
    with pytest.raises(RuntimeMissing, match=r"edge-runtime\[tflite\]"):
        tflite.import_interpreter()


def test_the_onnxruntime_that_crashes_on_raspberry_pi_is_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(onnx, "onnx_library", lambda: onnx_library(versions(onnxruntime="1.21.0")))
    with pytest.raises(RuntimeMissing, match=r"1\.21\.0 crashes .* pip install"):
        onnx.import_onnxruntime()


def test_a_board_without_libraries_has_no_runtimes() -> None:
    assert onnx_library(versions()) is None and tflite_library(versions()) is None
    assert onnx_library(versions(onnxruntime_gpu="1.20.0")) == ("onnxruntime-gpu", "1.20.0")
    assert set(installed()) <= {"onnx", "tflite"}


def test_litert_goes_before_tflite_runtime() -> None:
    assert tflite_library(versions(tflite_runtime="2.14.0")) == ("tflite-runtime", "2.14.0")
    assert tflite_library(versions(tflite_runtime="2.14.0", ai_edge_litert="2.3.0")) == ("ai-edge-litert", "2.3.0")


def test_tflite_runtime_is_not_tried_with_numpy_2() -> None:
    assert "numpy<2" in tflite.numpy_conflict("tflite-runtime", versions(numpy="2.4.6"))
    assert tflite.numpy_conflict("tflite-runtime", versions(numpy="1.26.4")) == ""
    assert tflite.numpy_conflict("ai-edge-litert", versions(numpy="2.4.6")) == ""


@pytest.mark.parametrize(
    ("older", "newer"), [("1.9.2", "1.10"), ("1.23", "1.23.1"), ("2.14.0", "2.14.1rc1"), ("", "0.1"), ("1.2.3+local", "1.3")]
)
def test_versions_compare_by_number(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)
    assert version_key("1.2") == version_key("1.2.0")


def test_a_manifest_that_speaks_of_another_model_is_refused(tmp_path: Path) -> None:
    good = unpack(tiny_bundle(tmp_path / "a.edgemodel").path, tmp_path / "f")
    spec = good.inputs[0]
    for inputs, words in (
        ((replace(spec, name="image"),), "input image: the manifest names it, the model has x"),
        ((replace(spec, dtype="int8"),), "input x: the manifest says int8"),
        ((replace(spec, shape=(4,)),), "input x: the manifest says float32"),
        ((replace(spec, shape=(1, 5)),), "input x: the manifest says float32"),
        ((), "the model has inputs x, the manifest names 0"),
    ):
        with pytest.raises(ModelError) as caught:
            choose.load_runtime(replace(good, inputs=inputs), tmp_path / "f")
        assert words in str(caught.value)


def test_a_manifest_may_fix_what_the_model_leaves_free(tmp_path: Path) -> None:
    from models import tiny_onnx

    manifest = tiny_bundle(tmp_path / "a.edgemodel").manifest
    tiny_onnx(tmp_path / "model.onnx", batch="n")
    runtime = choose.load_runtime(manifest, tmp_path)
    assert runtime.inputs == (TensorSpec("x", "float32", (None, 4)),)
    x = np.ones((1, 4), np.float32)
    assert np.allclose(runtime.run({"x": x})["y"], tiny_answer(x), atol=1e-5)


@pytest.mark.parametrize("name", ["onnxruntime", "ai-edge-litert", "ai_edge_litert", "numpy", "paho-mqtt", "Pytest"])
def test_versions_are_those_that_the_standard_library_tells(name: str) -> None:
    assert version_of(name) == metadata.version(name)


@pytest.mark.parametrize(
    ("folder", "version"),
    [
        ("tflite_runtime-2.14.0.dist-info", "2.14.0"),
        ("tflite_runtime-2.14.0.post1-py3.11.egg-info", "2.14.0.post1"),
        ("TFLite.Runtime-2.14.0+cu12.dist-info", "2.14.0+cu12"),
        ("tflite_runtime_nightly-2.14.0.dist-info", ""),
        ("tflite_runtime-2.14.0.dist-info.bak", ""),
    ],
)
def test_versions_are_read_from_folders_of_either_kind(tmp_path: Path, folder: str, version: str) -> None:
    (tmp_path / folder).mkdir()
    folders = [str(tmp_path / "not there"), str(tmp_path)]
    if version:
        assert version_of("tflite-runtime", folders) == version
    else:
        with pytest.raises(NotInstalled):
            version_of("tflite-runtime", folders)


def test_asking_for_versions_loads_no_reader_of_metadata() -> None:
    code = "import sys; from edge_agent.runtimes.installed import installed; installed(); print('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
