"""Malformed profiles: every problem at once, by file and key."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.load import load_file
from device_profiles.schema import Helper, ProfileError, RuntimeLimits, parse_profile
from device_profiles.versions import parse_version

GOOD: dict[str, Any] = {
    "name": "mine",
    "title": "My board",
    "family": "own",
    "arch": "aarch64",
    "cpu": "cortex-a55",
    "features": ["neon"],
    "cores": 4,
    "ram_mib": 2048,
    "schemes": ["onnx-int8"],
    "hooks": "generic_linux",
    "runtimes": {"onnx": {"library": "onnxruntime", "minimum": "1.17"}},
    "thermal": {"soft_c": 80, "limit_c": 85},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(GOOD)
    *folders, last = path.split(".")
    node = tree
    for folder in folders:
        node = node.setdefault(folder, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return tree


def test_a_minimal_profile_gets_a_budget_from_its_ram_and_cores() -> None:
    profile = parse_profile(GOOD, file="mine.toml")
    assert (profile.budget.memory_mib, profile.budget.size_mib, profile.budget.latency_ms) == (512.0, 128.0, 100.0)


def test_a_budget_may_be_given_in_part() -> None:
    profile = parse_profile(changed("budget.latency_ms", 20), file="mine.toml")
    assert (profile.budget.latency_ms, profile.budget.memory_mib) == (20.0, 512.0)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", None, "name: is missing"),
        ("arch", "mips", "arch: 'mips' is not one of armv7l, aarch64, x86_64"),
        ("cores", 0, "cores: 0 is not from 1"),
        ("cores", True, "cores: has the wrong type bool"),
        ("ram_mib", "2G", "ram_mib: has the wrong type str"),
        ("features", ["neon", "neon"], "features: names something twice"),
        ("features", [1], "features: must be a list of non-empty strings"),
        ("schemes", ["tflite-int8"], "schemes: 'tflite-int8' must be one of this board's runtimes"),
        ("schemes", ["onnx-int4"], "schemes: 'onnx-int4'"),
        ("runtimes", {}, "runtimes: names none"),
        ("runtimes.torch", {}, "runtimes.torch: must be a table named one of onnx, tflite"),
        ("runtimes.onnx.minimum", "new", "runtimes.onnx.minimum: 'new' is not a version"),
        ("runtimes.onnx.excluded", ["bad"], "runtimes.onnx.excluded: 'bad' is not a version"),
        ("runtimes.onnx.fallback", 1, "runtimes.onnx.fallback: has the wrong type int"),
        ("runtimes.onnx.providers", ["CUDAExecutionProvider"], "runtimes.onnx.providers: must be a list of tables"),
        ("runtimes.onnx.providers", [{}], "runtimes.onnx.providers[0].name: is missing"),
        ("runtimes.onnx.providers", [{"name": "A", "path": "b"}], "runtimes.onnx.providers[0].path: is not a key of a profile"),
        ("runtimes.onnx.providers", [{"name": "A", "options": {"b": []}}], "runtimes.onnx.providers[0].options.b: has the wrong type list"),
        ("runtimes.onnx.providers", [{"name": "A"}, {"name": "A"}], "runtimes.onnx.providers: names something twice"),
        ("runtimes.onnx.delegates", [{"path": "a.so"}], "runtimes.onnx.delegates: is not a key of a profile"),
        ("thermal", None, "thermal: is missing"),
        ("thermal.soft_c", 90, "thermal.soft_c: is above limit_c"),
        ("thermal.limit_c", float("nan"), "thermal.limit_c: must be a finite number"),
        ("hooks", "amiga", "hooks: 'amiga' is not one of"),
        ("colour", "green", "colour: is not a key of a profile"),
    ],
)
def test_one_wrong_key_is_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(changed(key, value), file="boards/mine.toml")
    assert f"boards/mine.toml: {message}" in str(caught.value)


def test_what_computes_before_the_processor_is_read_in_order_with_its_options() -> None:
    tree = changed("runtimes.onnx.fallback", True)
    tree["runtimes"]["onnx"]["providers"] = [
        {"name": "TensorrtExecutionProvider", "options": {"trt_fp16_enable": True, "trt_max_workspace_size": 1 << 30}},
        {"name": "CUDAExecutionProvider"},
    ]
    tree["runtimes"]["tflite"] = {"library": "ai-edge-litert", "delegates": [{"path": "libedgetpu.so.1", "options": {"device": "usb"}}]}
    profile = parse_profile(tree, file="mine.toml")
    assert profile.runtimes["onnx"].fallback and not profile.runtimes["tflite"].fallback
    assert profile.runtimes["onnx"].providers == (
        Helper("TensorrtExecutionProvider", (("trt_fp16_enable", "1"), ("trt_max_workspace_size", "1073741824"))),
        Helper("CUDAExecutionProvider"),
    )
    assert profile.runtimes["tflite"].delegates == (Helper("libedgetpu.so.1", (("device", "usb"),)),)


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile({"name": "x"}, file="x.toml")
    assert all(f"x.toml: {key}: is missing" in str(caught.value) for key in ("title", "arch", "cores", "ram_mib", "schemes", "hooks"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "budget", "device_tree", "accelerators", "other"]), VALUES))
def test_any_tree_is_read_or_refused_with_one_error(changes: dict[str, Any]) -> None:
    try:
        parse_profile({**GOOD, **changes}, file="any.toml")
    except ProfileError as error:
        assert "any.toml: " in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name = ", "is not TOML"), (b"\xff\xfe", "is not TOML"), (b"#" * 70_000, "larger than"), (b"[" * 3000, "is not TOML")],
)
def test_a_file_that_is_no_profile(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=message) as caught:
        load_file(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        load_file(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "number"), [("1.21.0", (1, 21)), ("v2.14", (2, 14)), ("1.19.2+cu12", (1, 19, 2)), ("0", (0,)), ("2.0.0rc1", (2,))]
)
def test_versions(text: str, number: tuple[int, ...]) -> None:
    assert parse_version(text) == number


@pytest.mark.parametrize("text", ["", "abc", ".5", "1" * 65])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        RuntimeLimits("lib", minimum="1").objection(text)
