"""The command line from a model file to a bundle, on the example models and on what people get wrong."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_nets import Net

import converters.trying
from converters.__main__ import main
from converters.inspect import _labels
from converters.recipe import Recipe, decode
from edge_agent.bundle.archive import read_manifest, unpack
from edge_agent.bundle.golden import load_cases, within
from edge_agent.pipeline.postprocess import compile_postprocess
from edge_agent.runtimes.choose import load_runtime

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
MODEL = DIGITS / "digits_v1.onnx"
COMMON = ["--profile", "rpi4", "--name", "digits", "--version", "1.0.0", "--quiet"]
DECLARED = ["--samples", str(DIGITS / "samples.npz"), "--processing", str(DIGITS / "processing.toml")]
FEW = ["--evaluation", "120", "--calibration", "40"]


@pytest.fixture(autouse=True)
def short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters.trying, "TIMING_S", 0.05)


def build(model: Path, out: Path, *options: str, declared: list[str] = DECLARED) -> int:
    return main(["build", str(model), *COMMON, *declared, "-o", str(out), *options])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, int8 TensorFlow Lite, judged on all its test images."""
    out = tmp_path_factory.mktemp("bundle") / "digits.edgemodel"
    assert build(MODEL, out, "--target", "tflite", "--scheme", "int8", "--force") == 0
    return out


def test_the_bundle_serves_on_the_runtime_and_passes_its_golden_cases(bundle: Path, tmp_path: Path) -> None:
    manifest = unpack(bundle, tmp_path / "unpacked")
    runtime = load_runtime(manifest, tmp_path / "unpacked")
    cases = load_cases(manifest, tmp_path / "unpacked")
    decide = compile_postprocess(manifest.postprocess, manifest.outputs, manifest.labels)
    answers = [runtime.run(case.inputs) for case in cases]
    assert len(cases) >= 8
    assert all(within(case, answer) for case, answer in zip(cases, answers, strict=True))
    assert len({decide(answer).label for answer in answers}) >= 8
    broken = {name: array + 1.0 for name, array in answers[0].items()}
    assert not within(cases[0], broken)


def test_the_manifest_says_what_the_board_needs_and_what_was_found(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert manifest.runtime.name == "tflite"
    assert manifest.requires.profiles == ("rpi4",)
    assert manifest.requires.arch == ("aarch64",)
    assert manifest.requires.latency_p95_ms > 0
    assert manifest.source_sha256 == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert manifest.quality["samples"] == 797
    assert manifest.quality["accuracy"] >= manifest.quality["original_accuracy"] - 0.01
    assert manifest.quality["original_accuracy"] == pytest.approx(0.966, abs=0.001)
    assert manifest.model_file.bytes < MODEL.stat().st_size / 2
    recipe = decode(manifest.recipe)
    assert recipe.scheme == "int8"
    assert recipe.processing.labels == manifest.labels
    assert "onnxruntime" in manifest.recipe["tools"]


def test_the_reports_beside_it_need_no_network(bundle: Path) -> None:
    page = bundle.with_name("digits.report.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    tree = json.loads(bundle.with_name("digits.report.json").read_text())
    assert tree["chosen"] == "tflite-int8"
    assert tree["candidates"][0]["latency_us"]["median_us"] > 0


def test_the_same_input_gives_the_same_bytes_and_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    model = tmp_path / "copy.onnx"
    model.write_bytes(MODEL.read_bytes())
    model.chmod(0o444)
    options = [*FEW, "--target", "onnx", "--scheme", "int8", "--force"]
    assert build(model, tmp_path / "a.edgemodel", *options) == 0
    assert build(model, tmp_path / "b.edgemodel", *options) == 0
    assert (tmp_path / "a.edgemodel").read_bytes() == (tmp_path / "b.edgemodel").read_bytes()
    assert model.read_bytes() == MODEL.read_bytes()
    assert read_manifest(tmp_path / "a.edgemodel").created.startswith("2023-11-14T22:13:20")


def test_all_schemes_of_the_board_are_tried_and_the_choice_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(MODEL, tmp_path / "m.edgemodel", *FEW, "--json") == 0
    tree = json.loads(capsys.readouterr().out)
    precisions = ("int8", "weights8", "float16", "float32")
    assert [c["scheme"] for c in tree["candidates"]] == [f"{runtime}-{name}" for name in precisions for runtime in ("tflite", "onnx")]
    assert tree["chosen"] in tree["why"]
    assert tree["bundle"]["bytes"] == (tmp_path / "m.edgemodel").stat().st_size


def rewritten(path: Path, change: Callable[[dict[str, Any], list[Any]], None]) -> Path:
    """The example with other constants."""
    proto = onnx.load(str(MODEL))
    arrays = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in proto.graph.initializer}
    change(arrays, [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm")])
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    path.write_bytes(proto.SerializeToString())
    return path


def imbalance(arrays: dict[str, Any], layers: list[Any]) -> None:
    """The channels of the first layer scaled far apart, and the next layer's weights the other way: the same network."""
    first, second = layers[:2]
    factor = (2.0 ** np.random.default_rng(2).uniform(-9, 9, arrays[first.input[1]].shape[0])).astype(np.float32)
    arrays[first.input[1]] *= factor[:, None, None, None]
    arrays[first.input[2]] *= factor
    arrays[second.input[1]] /= factor[None, :, None, None]


def bury(arrays: dict[str, Any], layers: list[Any]) -> None:
    """One channel is dead, and the dense layer's weights for it are huge: on one scale with them, all others round to nothing."""
    conv, dense = layers[1], layers[2]
    arrays[conv.input[2]][0] = -1000
    arrays[dense.input[1]][:, :4] = 3000


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_model_whose_ranges_are_far_apart_is_repaired(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = rewritten(tmp_path / "imbalanced.onnx", imbalance)
    assert build(model, tmp_path / "m.edgemodel", *FEW, "--target", target, "--scheme", "int8", "--force", "--json") == 0
    item = json.loads(capsys.readouterr().out)["candidates"][0]
    assert item["sqnr_db"] > 35
    assert not item["kept_float"]


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_model_that_int8_destroys_is_refused_and_nothing_is_written(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = rewritten(tmp_path / "buried.onnx", bury)
    out = tmp_path / "out" / "m.edgemodel"
    out.parent.mkdir()
    assert build(model, out, *FEW, "--target", target, "--scheme", "int8", "--force", "--no-search") == 3
    assert f"{target}-int8 loses" in capsys.readouterr().err
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_the_search_gives_back_only_the_layer_that_int8_destroys(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = rewritten(tmp_path / "buried.onnx", bury)
    assert build(model, tmp_path / "m.edgemodel", *FEW, "--target", target, "--scheme", "int8", "--force", "--json") == 0
    tree = json.loads(capsys.readouterr().out)
    *refused, mixed = tree["candidates"]
    assert not any(item["passed"] for item in refused)
    assert mixed["passed"]
    assert mixed["kept_float"][0] == tree["sensitivity"][0]["layer"]
    assert len(mixed["kept_float"]) < len(tree["sensitivity"]) / 2 + 1
    assert mixed["drop"] <= 0.01


def test_without_labels_agreement_is_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(DIGITS / "samples.npz") as held:
        np.savez(tmp_path / "s.npz", image=held["image"])
    declared = ["--samples", str(tmp_path / "s.npz"), "--processing", str(DIGITS / "processing.toml")]
    model = rewritten(tmp_path / "buried.onnx", bury)
    assert (
        build(model, tmp_path / "m.edgemodel", *FEW, "--target", "tflite", "--scheme", "int8", "--force", "--no-search", declared=declared)
        == 3
    )
    assert "tflite-int8 may lose up to" in capsys.readouterr().err


def test_wild_calibration_samples_are_named_and_do_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(DIGITS / "samples.npz") as held:
        arrays = dict(held)
    arrays["image"] = arrays["image"].astype(np.float32)
    arrays["image"][[4, 150]] *= 50
    np.savez(tmp_path / "s.npz", **arrays)
    declared = ["--samples", str(tmp_path / "s.npz"), "--processing", str(DIGITS / "processing.toml")]
    options = ["--evaluation", "300", "--target", "tflite", "--scheme", "int8", "--force"]
    assert build(MODEL, tmp_path / "m.edgemodel", *options, declared=declared) == 0
    quality = read_manifest(tmp_path / "m.edgemodel").quality
    assert [r["row"] for r in quality["calibration"]["rejected"]] == [4, 150]
    assert quality["sqnr_db"] > 35
    assert "row 4 (" in capsys.readouterr().out


def test_a_tflite_file_is_packed_as_it_is(bundle: Path, tmp_path: Path) -> None:
    unpack(bundle, tmp_path / "unpacked")
    model = tmp_path / "unpacked" / "model.tflite"
    assert build(model, tmp_path / "m.edgemodel", *FEW, "--scheme", "as-is") == 0
    manifest = unpack(tmp_path / "m.edgemodel", tmp_path / "again")
    assert (tmp_path / "again" / "model.tflite").read_bytes() == model.read_bytes()
    assert manifest.quality["agreement"] == 1.0
    assert build(model, tmp_path / "n.edgemodel", *FEW, "--scheme", "int8") == 2


def test_weights_in_a_file_beside_the_model_are_taken_in(tmp_path: Path) -> None:
    proto = onnx.load(str(MODEL))
    model = tmp_path / "m.onnx"
    onnx.save_model(proto, str(model), save_as_external_data=True, location="m.data", size_threshold=0)
    options = [*FEW, "--target", "tflite", "--scheme", "int8", "--force"]
    assert build(model, tmp_path / "m.edgemodel", *options) == 0
    (tmp_path / "m.data").unlink()
    assert build(model, tmp_path / "n.edgemodel", *options) == 2


def test_several_boards_share_one_bundle(tmp_path: Path) -> None:
    options = [*FEW, "--profile", "generic-armv7", "--target", "tflite", "--scheme", "int8", "--force", "--unproven"]
    assert build(MODEL, tmp_path / "m.edgemodel", *options) == 0
    needs = read_manifest(tmp_path / "m.edgemodel").requires
    assert needs.profiles == ("rpi4", "generic-armv7")
    assert needs.arch == ("aarch64", "armv7l")


@pytest.mark.parametrize(
    ("options", "status", "what"),
    [
        (["--profile", "rpi44"], 2, "unknown device profile 'rpi44'; did you mean"),
        (["--name", "a b"], 2, "name: 'a b'"),
        (["--version", "/"], 2, "version: '/'"),
        (["--max-drop", "nan"], 2, "max-drop: nan is not a share"),
        (["--seed", "-1"], 2, "seed: -1 is not 0 or more"),
        (["--min-sqnr", "nan"], 2, "min-sqnr: nan is not a number"),
        (["-o", "x" * 300 + ".edgemodel"], 2, "cannot be written to (File name too long)"),
        (["--samples", "missing.npz"], 2, "missing.npz: there is no such samples file"),
        (["--processing", "missing.toml"], 2, "missing.toml: cannot be read"),
        (["-o", "no/such/folder/x.edgemodel"], 2, "the folder no/such/folder does not exist"),
        (["-o", str(MODEL)], 2, "is one of the inputs"),
        (["--weights", "w.pth"], 2, "--weights: "),
        (["--input", "x:float32[1]"], 2, "digits_v1.onnx says that itself; leave it out"),
        (["--profile", "generic-armv7", "--target", "onnx"], 2, "allows only tflite-int8, tflite-weights8, tflite-float16, tflite-float32"),
    ],
)
def test_wrong_options_get_one_clear_error(
    options: list[str], status: int, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(MODEL, tmp_path / "m.edgemodel", *options) == status
    error = capsys.readouterr().err
    assert what in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"hello world, I am no model", "not an ONNX model"),
        (MODEL.read_bytes()[:9000], "not an ONNX model"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(64), "bad.model: ai-edge-litert"),
    ],
)
def test_what_is_no_model_gets_one_clear_error(data: bytes, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "bad.model"
    model.write_bytes(data)
    assert build(model, tmp_path / "m.edgemodel") == 2
    assert what in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.model"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("labels = [1]", "labels: must be a list of strings"),
        ("[[preprocess]]\nfactor = 2", r"preprocess[0].op: must be there"),
        ("[[preprocess]]\nop = 'blur'", r"preprocess[0].op: 'blur' is not one of"),
        ("[[postprocess]]\nop = 'argmax'\nof = 3", r"postprocess[0].args.of"),
        ("labels = ['a', 'b']", "labels: has 2 words, output logits gives 10 values"),
        ("preproces = 3", "preproces: is not known here"),
        ("= =", "is not TOML"),
    ],
)
def test_a_wrong_processing_file_names_the_key(text: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    declared = ["--samples", str(DIGITS / "samples.npz"), "--processing", str(path)]
    assert build(MODEL, tmp_path / "m.edgemodel", declared=declared) == 2
    assert what in capsys.readouterr().err


def test_an_operator_that_tflite_lacks_is_named_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n = Net((1, 12))
    model = n.write(n.dense(n.node("Hardmax", n.dense("x", 12, 64)), 64, 64), tmp_path / "hardmax.onnx")
    np.savez(tmp_path / "s.npz", x=np.random.default_rng(1).normal(size=(40, 12)).astype(np.float32))
    declared = ["--samples", str(tmp_path / "s.npz")]
    assert build(model, tmp_path / "m.edgemodel", "--target", "tflite", declared=declared) == 3
    error = capsys.readouterr().err
    assert "operator Hardmax (node n_t1)" in error
    assert "--target onnx takes it" in error
    assert build(model, tmp_path / "m.edgemodel", "--force", declared=declared) == 0
    assert read_manifest(tmp_path / "m.edgemodel").runtime.name == "onnx"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "m.edgemodel"
    out.parent.mkdir()
    real = os.fsync

    def full(handle: int) -> None:
        if "m.edgemodel" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert build(MODEL, out, *FEW, "--target", "tflite", "--scheme", "int8", "--force") == 1
    assert "No space left on device; free some space" in capsys.readouterr().err
    assert not list(out.parent.iterdir())


def test_an_output_that_is_no_regular_file_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        assert build(MODEL, tmp_path / name, *FEW) == 2
        assert f"{name}: is not a regular file and is not replaced" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 2


def test_inspect_says_what_is_inside_and_checks_it(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle)]) == 0
    assert "accuracy 96." in capsys.readouterr().out
    assert main(["inspect", "--json", str(bundle)]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["name"] == "digits"
    damaged = bytearray(bundle.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "d.edgemodel").write_bytes(damaged)
    assert main(["inspect", str(tmp_path / "d.edgemodel")]) == 2
    assert "damaged" in capsys.readouterr().err


def test_profiles_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles"]) == 0
    listed = capsys.readouterr().out
    assert "rpi4" in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert main(["profiles", "rpi4", "--json"]) == 0
    tree: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert tree["arch"] == "aarch64"
    assert tree["runtimes"]["onnx"]["library"] == "onnxruntime"
    assert main(["profiles", "rpi44"]) == 2


def test_a_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert build(MODEL, tmp_path / "m.edgemodel") == 1
    assert f"what is worked on lies in {tempfile.gettempdir()}, TMPDIR names another folder" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["processing", "samples"])
def test_no_file_that_was_named_is_written_over(named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"samples": tmp_path / "s.npz", "processing": tmp_path / "p.toml"}
    for word, path in given.items():
        path.write_bytes((DIGITS / {"samples": "samples.npz", "processing": "processing.toml"}[word]).read_bytes())
    beside = given[named].rename(tmp_path / "m.report.json")
    given[named] = beside
    declared = ["--samples", str(given["samples"]), "--processing", str(given["processing"])]
    before = beside.read_bytes()
    assert build(MODEL, beside, declared=declared) == 2
    assert build(MODEL, tmp_path / "m.edgemodel", declared=declared) == 2
    assert "m.report.json, which is written beside it, is one of the inputs" in capsys.readouterr().err
    assert build(MODEL, tmp_path / "x.edgemodel", "--report", str(tmp_path / "m.report.html"), declared=declared) == 2
    assert build(MODEL, tmp_path / "x.edgemodel", "--report", str(tmp_path / "x.edgemodel")) == 2
    assert "is what" in capsys.readouterr().err
    assert build(MODEL, tmp_path / "x.edgemodel", "--report", str(tmp_path / "x.json")) == 2
    assert "give a name that ends with .html" in capsys.readouterr().err
    assert beside.read_bytes() == before


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "2>/dev/full", "<&- >&- 2>&-", ""])
def test_streams_that_are_closed_full_or_ascii_do_not_stop_a_build(closed: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "converters", "build", str(MODEL), *COMMON[:-1], *DECLARED, "-o", str(tmp_path / "m.edgemodel")]
    command = f"{shlex.join([*words, *FEW, '--no-search'])} {closed}"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run(["/bin/sh", "-c", command], env={**os.environ, **ascii_only}, capture_output=True, timeout=120)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False)
    assert read_manifest(tmp_path / "m.edgemodel").name == "digits"


def test_a_recipe_reads_back() -> None:
    from converters.recipe import encode

    recipe = Recipe("m", "1", ("rpi4",), target="onnx", max_drop=0.02)
    assert decode(json.loads(json.dumps(encode(recipe, tools={}, samples_sha256="")))) == recipe


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_build_leaves_nothing(number: int, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    command = [
        sys.executable,
        "-m",
        "converters",
        "build",
        str(MODEL),
        *COMMON[:-1],
        *DECLARED,
        "-o",
        str(tmp_path / "out" / "m.edgemodel"),
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    held = signal.signal(number, signal.SIG_DFL)  # what is ignored here (under nohup) would be ignored there
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=DIGITS.parents[1])
    finally:
        signal.signal(number, held)
    assert process.stderr is not None
    for line in process.stderr:
        if "proving" in line:
            process.send_signal(number)
            break
    assert "interrupted, nothing was written" in process.stderr.read()
    assert process.wait(timeout=20) == 130
    assert not [*(tmp_path / "tmp").iterdir(), *(tmp_path / "out").iterdir()]


def test_two_builds_to_one_place_leave_one_whole_bundle(tmp_path: Path) -> None:
    """In a folder whose name people do give."""
    folder = tmp_path / "mit Leerzeichen é"
    folder.mkdir()
    fast = [*FEW, "--target", "onnx", "--scheme", "float32", "--force"]
    command = [sys.executable, "-m", "converters", "build", str(MODEL), *COMMON, *DECLARED, "-o", str(folder / "m.edgemodel"), *fast]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=DIGITS.parents[1]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert main(["inspect", str(folder / "m.edgemodel")]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["m.edgemodel", "m.report.html", "m.report.json"]


def test_many_labels_are_counted_not_poured_out() -> None:
    assert _labels(("a", "b c")) == "a, b c"
    assert _labels(()) == "none"
    many = _labels([f"class {i}" for i in range(1001)])
    assert many.endswith("(1001 in all)")
    assert len(many) < 66


def test_codes_at_the_ends_are_asked_for_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.edgemodel"
    assert build(MODEL, out, *FEW, "--scheme", "int8-io", "--no-search", "--json") == 0
    assert json.loads(capsys.readouterr().out)["candidates"][0]["drop"] <= 0.01
    manifest = unpack(out, tmp_path / "unpacked")
    for spec in (*manifest.inputs, *manifest.outputs):
        assert spec.dtype == "int8"
        assert spec.scale is not None
    runtime = load_runtime(manifest, tmp_path / "unpacked")
    for case in load_cases(manifest, tmp_path / "unpacked"):
        assert within(case, runtime.run(case.inputs))
