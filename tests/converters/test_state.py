"""Models with state through the converter: declared by name, never guessed silently, judged and proven with the state carried."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flat_nets import IMAGE, operator_file
from stateful_nets import CHANNELS, STATE_IN, STATE_OUT, UNITS, gru_onnx

from converters.__main__ import main
from converters.processing import Processing
from converters.recipe import Recipe, decode, encode
from converters.state import suggested
from converters.workshop import Workshop
from edge_agent.bundle.archive import read_manifest, unpack
from edge_agent.bundle.golden import load_cases, within
from edge_agent.bundle.manifest import StatePair, StateSpec
from edge_agent.pipeline.state import ModelState
from edge_agent.runtimes.choose import load_runtime
from edge_agent.runtimes.onnx import OnnxRuntime
from edge_agent.runtimes.tflite import TfliteRuntime
from edge_agent.values import TensorSpec

ROWS = 30
TABLE = f'[state]\non_swap = "carry"\n[[state.pairs]]\ninput = "{STATE_IN}"\noutput = "{STATE_OUT}"\n'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return gru_onnx(tmp_path / "gru.onnx")


def samples(folder: Path, **more: Any) -> Path:
    path = folder / "s.npz"
    np.savez(path, x=np.random.default_rng(2).normal(0, 1, (ROWS, CHANNELS)), **more)
    return path


def build(model: Path, given: Path, said: str, *options: str) -> int:
    """The exit status; the bundle is ``m.edgemodel`` beside the samples."""
    processing = given.with_name("p.toml")
    processing.write_text(said)
    out = given.with_name("m.edgemodel")
    common = ["--profile", "generic-x86-64", "--name", "m", "--version", "1", "-q", "--unproven", "-o", str(out), *options]
    return main(["build", str(model), "--samples", str(given), "--processing", str(processing), *common])


def stream(model: Path, rows: Any, starts: set[int]) -> list[Any]:
    """What the model answers row by row, its state begun anew at ``starts``."""
    runtime, answers = OnnxRuntime(model), []
    state = np.zeros((1, UNITS), np.float32)
    for at, row in enumerate(rows):
        state = np.zeros_like(state) if at in starts else state
        said = runtime.run({"x": row.astype(np.float32)[None], STATE_IN: state})
        state = said[STATE_OUT]
        answers.append(said)
    return answers


@pytest.mark.parametrize("recordings", [None, [0] * 12 + [1] * 18])
def test_a_bundle_says_the_state_and_its_golden_cases_are_moments_of_a_stream(model: Path, tmp_path: Path, recordings: Any) -> None:
    given = samples(tmp_path, **({} if recordings is None else {"recordings": recordings}))
    assert build(model, given, TABLE) == 0
    manifest = read_manifest(tmp_path / "m.edgemodel")
    assert manifest.state == StateSpec((StatePair(STATE_IN, STATE_OUT),), on_swap="carry")
    assert manifest.format == 2
    assert manifest.quality["scheme"] == "onnx-as-is"
    assert manifest.quality["samples"] == ROWS
    with np.load(given) as held:
        expected = stream(model, held["x"], {0} if recordings is None else {0, 12})
    folder = tmp_path / "u"
    unpack(tmp_path / "m.edgemodel", folder)
    runtime = load_runtime(manifest, folder)
    cases = load_cases(manifest, folder)
    assert len(cases) == len({case.inputs[STATE_IN].tobytes() for case in cases})  # each from another state
    known = {said["y"].tobytes() for said in expected}
    for case in cases:
        assert within(case, runtime.run(case.inputs))
        assert case.outputs["y"].tobytes() in known


def test_it_is_made_the_same_again_and_evaluated_with_its_state(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = samples(tmp_path)
    said = f'labels = ["low", "high"]\n{TABLE}[[postprocess]]\nop = "argmax"\n'
    assert build(model, given, said) == 0
    first = (tmp_path / "m.edgemodel").read_bytes()
    assert build(model, given, said) == 0
    assert (tmp_path / "m.edgemodel").read_bytes() == first
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "m.edgemodel"), "--samples", str(given), "--json"]) == 0
    with np.load(given) as held:
        expected = ["low" if said["y"].argmax() == 0 else "high" for said in stream(model, held["x"], {0})]
    counted = json.loads(capsys.readouterr().out)["classes"]
    assert counted == {name: expected.count(name) for name in sorted(set(expected))}


def test_what_looks_like_state_is_never_taken_for_it_silently(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(model, samples(tmp_path), "") == 2
    error = capsys.readouterr().err
    assert f"input {STATE_IN} and output {STATE_OUT} look like state" in error
    assert f'[[state.pairs]]\ninput = "{STATE_IN}"\noutput = "{STATE_OUT}"' in error
    assert not (tmp_path / "m.edgemodel").exists()


def test_samples_for_the_input_say_that_it_is_no_state(model: Path, tmp_path: Path) -> None:
    given = samples(tmp_path, **{STATE_IN: np.zeros((ROWS, UNITS))})
    assert build(model, given, "", "--scheme", "as-is") == 0
    assert read_manifest(tmp_path / "m.edgemodel").state is None


@pytest.mark.parametrize(
    ("said", "options", "words"),
    [
        (TABLE.replace(f'"{STATE_OUT}"', '"q"'), (), "state.pairs[0].output: 'q' is not an output"),
        (TABLE.replace(f'"{STATE_OUT}"', '"y"'), (), "must be equal"),
        (TABLE.replace("carry", "keep"), (), "state.on_swap: 'keep' is not one of reset, carry"),
        (TABLE + "colour = 3\n", (), "state.pairs[0].colour: is not known here"),
        (TABLE.replace("[state]", "[state]\nother = 1"), (), "state.other: is not known here"),
        ("[state]\n", (), "leave state out"),
        ('state = "yes"\n', (), "state: has the wrong type"),
        ('[state]\nin_graph = "keep"\n', (), "keep is for tflite"),
        (TABLE, ("--scheme", "int8"), "--scheme as-is packs the file unchanged"),
        (TABLE, ("--prune",), "prune: is not made of models with state"),
        (TABLE, ("--target", "tflite"), "stays onnx"),
        (TABLE + f'[[postprocess]]\nop = "output"\nname = "{STATE_OUT}"\n', (), "is not an output of the model"),
        (TABLE + f'[[preprocess]]\nop = "scale"\ninput = "{STATE_IN}"\n', (), "is not an input of the model"),
    ],
)
def test_what_cannot_be_is_named(
    said: str, options: tuple[str, ...], words: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(model, samples(tmp_path), said, *options) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "m.edgemodel").exists()


def test_state_inside_a_tflite_graph_is_kept_and_only_fresh_moments_are_golden(tmp_path: Path) -> None:
    model = tmp_path / "lstm.tflite"
    model.write_bytes(operator_file("lstm"))
    recordings = np.repeat([0, 1, 2], 10)
    np.savez(tmp_path / "s.npz", window=np.random.default_rng(1).normal(0, 1, (ROWS, *IMAGE[1:])), recordings=recordings)
    assert build(model, tmp_path / "s.npz", '[state]\nin_graph = "keep"\n') == 0
    manifest = read_manifest(tmp_path / "m.edgemodel")
    assert manifest.keeps_state_in_graph
    assert len(manifest.golden) == 3
    folder = tmp_path / "u"
    unpack(tmp_path / "m.edgemodel", folder)
    runtime = load_runtime(manifest, folder)
    assert isinstance(runtime, TfliteRuntime)
    for case in load_cases(manifest, folder):
        runtime.reset_state()
        assert within(case, runtime.run(case.inputs))
        assert not within(case, runtime.run(case.inputs))  # now it remembers


def spec(name: str, *shape: int | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, shape)


@pytest.mark.parametrize(
    ("taken", "given", "pairs"),
    [
        ((spec("h", 1, 8), spec("c", 1, 8)), (spec("hn", 1, 8), spec("cn", 1, 8)), {"h": "hn", "c": "cn"}),
        ((spec("state", 2, None, 8),), (spec("stateN", None, None, None), spec("output", None, 1)), {"state": "stateN"}),
        ((spec("hidden_in", 4),), (spec("hidden_out", 4), spec("cell_out", 4)), {"hidden_in": "hidden_out"}),
        ((spec("h0", 4), spec("c0", 4)), (spec("hn", 4), spec("cn", 4)), {"h0": "hn", "c0": "cn"}),
        ((spec("prev_state", 4),), (spec("next_state", 4),), {"prev_state": "next_state"}),
        ((spec("state", 4),), (spec("state_out", 5),), {}),
        ((spec("state", 4, dtype="int8"),), (spec("state_out", 4),), {}),
        ((spec("state", 4),), (spec("state_out", 4), spec("new_state", 4)), {}),
        ((spec("left_in", 4),), (spec("right_out", 4),), {}),
        ((spec("input", 4),), (spec("output", 4),), {}),
    ],
)
def test_names_that_go_together(taken: tuple[TensorSpec, ...], given: tuple[TensorSpec, ...], pairs: dict[str, str]) -> None:
    assert {pair.input: pair.output for pair in suggested(taken, given)} == pairs


def test_the_recipe_can_be_read_back() -> None:
    state = StateSpec((StatePair("h", "hn", 0.5),), on_gap="reset")
    recipe = Recipe("m", "1", ("rpi4",), processing=Processing(state=state))
    assert decode(json.loads(json.dumps(encode(recipe, tools={}, samples_sha256="")))) == recipe


def test_the_child_in_another_environment_threads_the_state_too(model: Path, tmp_path: Path) -> None:
    given = samples(tmp_path, recordings=[0] * 12 + [1] * 18)
    state = StateSpec((StatePair(STATE_IN, STATE_OUT),))
    workshop = Workshop(tmp_path, given, (), state=state)
    rows = range(ROWS)
    here = workshop.prove("m", model.read_bytes(), "onnx", rows)
    there = workshop.prove_in(Path(sys.executable), "m", model.read_bytes(), "onnx", rows)
    with np.load(given) as held:
        expected = np.stack([said["y"] for said in stream(model, held["x"], {0, 12})])
    np.testing.assert_array_equal(here.values["y"], expected)
    np.testing.assert_array_equal(there.values["y"], expected)
    assert [spec.name for spec in here.outputs] == ["y", STATE_OUT]


def test_speech_from_a_published_model(tmp_path: Path) -> None:
    """625 chunks of which 440 are speech; forgetting the state leaves 187."""
    import wave

    from benchmarks.assets.measure import assets_folder

    folder = assets_folder() / "10_vad_silero_stateful"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set EDGE_ASSETS")
    with wave.open(str(folder / "speech_20s.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    padded = np.concatenate([np.zeros(64, np.float32), sound])
    chunks = np.stack([padded[512 * k : 512 * k + 576] for k in range(len(sound) // 512)])
    np.savez(tmp_path / "s.npz", input=chunks, sr=np.full(len(chunks), 16000))
    table = TABLE.replace(f'"{STATE_IN}"', '"state"').replace(f'"{STATE_OUT}"', '"stateN"')
    said = f'labels = ["silence", "speech"]\n{table}[[postprocess]]\nop = "threshold"\nat = 0.5\n'
    assert build(folder / "silero_vad_16k_op15.onnx", tmp_path / "s.npz", said, "--shape", "input=1,576") == 0
    manifest = read_manifest(tmp_path / "m.edgemodel")
    unpack(tmp_path / "m.edgemodel", tmp_path / "u")
    runtime, state, speech = load_runtime(manifest, tmp_path / "u"), ModelState(manifest), 0
    for chunk in chunks:
        answer = runtime.run({"input": chunk[None], "sr": np.array(16000), **state.inputs()})
        state.commit(answer)
        speech += float(answer["output"][0, 0]) > 0.5
    assert (len(chunks), speech) == (625, 440)
