"""Options of a runtime: said as JSON and back, carried out, and told where they cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import tiny_answer, tiny_onnx, tiny_tflite

from device_profiles.load import load_profile
from edge_agent.errors import RuntimeMissing
from edge_agent.runtimes.choose import load_model_file
from edge_agent.runtimes.environment import ENVIRONMENT, prepare_environment
from edge_agent.runtimes.onnx import CPU, choose_providers, import_onnxruntime, session_options
from edge_agent.runtimes.options import Delegate, Provider, RuntimeOptions, options_for, options_from_json, options_to_json

X = np.array([[0.5, -1.0, 2.0, 0.25]], np.float32)
CUDA, TENSORRT = Provider("CUDAExecutionProvider"), Provider("TensorrtExecutionProvider", (("trt_fp16_enable", "1"),))
CORAL = Delegate("libedgetpu.so.1", (("device", "usb"),))

texts = st.text(max_size=20)
pairs = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
many_options = st.builds(
    RuntimeOptions,
    threads=st.integers(1, 64),
    spinning=st.booleans(),
    arena=st.booleans(),
    prepack=st.booleans(),
    providers=st.lists(st.builds(Provider, texts, pairs), max_size=2).map(tuple),
    delegates=st.lists(st.builds(Delegate, texts, pairs), max_size=2).map(tuple),
    fallback=st.booleans(),
)


@given(many_options)
def test_options_survive_json(options: RuntimeOptions) -> None:
    assert options_from_json(json.loads(json.dumps(options_to_json(options)))) == options


@pytest.mark.parametrize("node", [{"threads": 1, "speed": "high"}, {"providers": [{"options": []}]}, {"delegates": [1]}])
def test_json_of_something_else_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises((TypeError, KeyError, ValueError)):
        options_from_json(node)


@pytest.mark.parametrize(
    "options",
    [
        RuntimeOptions(threads=2),
        RuntimeOptions(threads=2, spinning=True),
        RuntimeOptions(arena=False),
        RuntimeOptions(prepack=False),
    ],
)
def test_options_change_nothing_of_the_answer(tmp_path: Path, options: RuntimeOptions) -> None:
    for path in (tiny_onnx(tmp_path / "m.onnx"), tiny_tflite(tmp_path / "m.tflite")):
        runtime = load_model_file(path, options=options)
        assert np.allclose(runtime.run({"x": X})["y"], tiny_answer(X), atol=1e-5)
        assert runtime.notes == ()


def test_options_reach_the_session() -> None:
    ort = import_onnxruntime()
    settings = session_options(ort, RuntimeOptions(threads=3, spinning=True, arena=False, prepack=False))
    assert settings.intra_op_num_threads == 3 and not settings.enable_cpu_mem_arena
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert settings.get_session_config_entry("session.disable_prepacking") == "1"
    plain = session_options(ort, RuntimeOptions())
    assert plain.intra_op_num_threads == 1 and plain.enable_cpu_mem_arena
    assert plain.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_weights_beside_the_model_are_read_with_and_without_prepacking(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(tiny_onnx(tmp_path / "whole.onnx")))
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").stat().st_size > 0
    answers = [load_model_file(path, options=RuntimeOptions(prepack=prepack)).run({"x": X})["y"] for prepack in (True, False)]
    assert np.allclose(answers, tiny_answer(X), atol=1e-5)


def test_a_profile_says_what_computes() -> None:
    options = options_for(load_profile("jetson-orin-nano").runtimes["onnx"], threads=2)
    assert [provider.name for provider in options.providers] == [CUDA.name]
    assert options.fallback and options.threads == 2 and ("cudnn_conv_algo_search", "HEURISTIC") in options.providers[0].options
    assert options_for(load_profile("rpi4").runtimes["tflite"]) == options_for(None) == RuntimeOptions()


def test_providers_keep_their_order_and_the_processor_comes_last() -> None:
    chosen, notes = choose_providers(RuntimeOptions(providers=(TENSORRT, CUDA)), [TENSORRT.name, CUDA.name, CPU], "1.23.0")
    assert chosen == [TENSORRT, CUDA, Provider(CPU)] and notes == ()
    named, _ = choose_providers(RuntimeOptions(providers=(Provider(CPU), CUDA)), [CUDA.name, CPU], "1.23.0")
    assert named == [Provider(CPU), CUDA]


def test_a_provider_that_is_not_installed_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match=r"CUDAExecutionProvider is not in the installed onnxruntime .*onnxruntime-gpu"):
        load_model_file(tiny_onnx(tmp_path / "m.onnx"), options=RuntimeOptions(providers=(CUDA,)))


def test_with_fall_back_the_processor_works_and_it_is_told(tmp_path: Path) -> None:
    runtime = load_model_file(tiny_onnx(tmp_path / "m.onnx"), options=RuntimeOptions(providers=(TENSORRT, CUDA), fallback=True))
    assert np.allclose(runtime.run({"x": X})["y"], tiny_answer(X), atol=1e-5)
    assert len(runtime.notes) == 2 and all("the processor does its work" in note for note in runtime.notes)


def test_a_delegate_that_is_not_there_is_an_error_or_told(tmp_path: Path) -> None:
    path = tiny_tflite(tmp_path / "m.tflite")
    with pytest.raises(RuntimeMissing, match=r"the delegate libedgetpu.so.1 cannot be loaded: .*libedgetpu1-std"):
        load_model_file(path, options=RuntimeOptions(delegates=(CORAL,)))
    runtime = load_model_file(path, options=RuntimeOptions(delegates=(CORAL,), fallback=True))
    assert "the processor does its work" in runtime.notes[0]
    assert np.allclose(runtime.run({"x": X})["y"], tiny_answer(X), atol=1e-5)


def test_a_library_that_is_no_delegate_is_told_by_its_path(tmp_path: Path) -> None:
    broken = tmp_path / "libmine.so"
    broken.write_bytes(b"no library")
    with pytest.raises(RuntimeMissing, match=r"libmine.so cannot be loaded"):
        load_model_file(tiny_tflite(tmp_path / "m.tflite"), options=RuntimeOptions(delegates=(Delegate(str(broken)),)))


def test_the_environment_is_quiet_and_leaves_threads_to_the_user() -> None:
    mine = {"OMP_NUM_THREADS": "4", "ORT_DISABLE_TELEMETRY": "0"}
    prepare_environment(mine)
    assert mine == {**ENVIRONMENT, "OMP_NUM_THREADS": "4"}
