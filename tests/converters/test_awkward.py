"""Models out of the ordinary are converted and answer as before, or are refused with what is the matter; names are kept to the letter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from awkward_nets import AWKWARD

from converters.__main__ import main
from converters.errors import InputError
from converters.load import load_source
from converters.model import to_bytes
from converters.passes.fix_shapes import fix_shapes
from converters.passes.run import run_passes
from converters.quantized import is_quantized
from edge_agent.bundle.archive import read_manifest
from edge_agent.runtimes.choose import load_model_file

ROOT = Path(__file__).parents[2]
ASSETS = Path(os.environ.get("EDGE_ASSETS_DIR", ROOT.parent / "shared" / "assets")) / "12_awkward_models" / "onnx"


def assert_converted(path: Path, feeds: list[dict[str, Any]], folder: Path, *, free: bool, lost: tuple[str, ...] = ()) -> None:
    """The passes give what the file gives: with the sizes of the question, and where its batch is one also with sizes left ``free``."""
    source = load_source(path)
    assert source.graph is not None
    (folder / "whole.onnx").write_bytes(source.data)
    original = load_model_file(folder / "whole.onnx")
    sized = fix_shapes(source.graph, {name: array.shape for name, array in feeds[0].items() if array.shape})
    for graph in [sized, *([source.graph] if free else [])]:
        (folder / "after.onnx").write_bytes(to_bytes(run_passes(graph)[0]))
        after = load_model_file(folder / "after.onnx")
        assert [spec.name for spec in after.outputs] == [spec.name for spec in original.outputs]
        assert not set(lost) & {spec.name for spec in after.outputs}
        for feed in feeds:
            wanted, given = original.run(feed), after.run(feed)
            for name, array in wanted.items():
                share = 1e-3 if array.dtype == np.float16 else 1e-5
                code = 1 if array.dtype == np.uint8 else 1e-5  # the last bit of a quantized answer
                np.testing.assert_allclose(given[name].astype(float), array.astype(float), rtol=share, atol=code)


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_model_is_converted_or_named(name: str, tmp_path: Path) -> None:
    case, path = AWKWARD[name], tmp_path / "m.onnx"
    path.write_bytes(case.data())
    if case.refused:
        with pytest.raises(InputError, match=r"m\.onnx") as caught:
            load_source(path)
        assert case.refused in str(caught.value)
    elif case.feeds:
        assert_converted(path, [case.feed(seed) for seed in range(3)], tmp_path, free=True, lost=case.lost)
    else:  # whether a runtime knows the operator is for its proof to say
        assert load_source(path).graph is not None


@pytest.mark.parametrize(
    "name", ["dyn_batch_seq", "multi_in_out", "if_branch", "loop_counter", "float16_io", "uint8_qdq", "int64_ids", "scalar_input",
             "optional_input", "weird_names", "external_data_ok", "lstm_state_io"],
)  # fmt: skip
def test_published_awkward_models_answer_as_recorded(name: str, tmp_path: Path) -> None:
    if not (ASSETS / f"{name}.onnx").is_file():
        pytest.skip(f"{ASSETS} is not there; set EDGE_ASSETS_DIR")
    with np.load(ASSETS / f"{name}.npz") as held:
        feed = {key.removeprefix("in_"): held[key] for key in held.files if key.startswith("in_")}
    stored = {"gain"} if name == "optional_input" else set()
    assert_converted(ASSETS / f"{name}.onnx", [{key: array for key, array in feed.items() if key not in stored}], tmp_path, free=False)


def test_what_computes_in_whole_numbers_already_is_told(tmp_path: Path) -> None:
    for name, case in AWKWARD.items():
        if not case.refused:
            (tmp_path / "m.onnx").write_bytes(case.data())
            graph = load_source(tmp_path / "m.onnx").graph
            assert graph is not None and is_quantized(graph) == (name == "quantized"), name


def test_a_bundle_of_a_model_with_free_sizes_takes_them_from_the_samples(tmp_path: Path) -> None:
    case = AWKWARD["two free sizes"]
    (tmp_path / "m.onnx").write_bytes(case.data())
    np.savez(tmp_path / "s.npz", x=np.random.default_rng(0).normal(0, 1, (20, 5, 8)).astype(np.float32))
    out = tmp_path / "m.edgemodel"
    options = ["--profile", "rpi4", "--samples", str(tmp_path / "s.npz"), "--name", "m", "--version", "1", "-o", str(out), "-q"]
    assert main(["build", str(tmp_path / "m.onnx"), *options, "--target", "onnx", "--scheme", "float32", "--force"]) == 0
    assert read_manifest(out).inputs[0].shape == (1, 5, 8)
