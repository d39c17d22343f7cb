"""The pure parts of the converter's benchmark: what counts as a failure, a false accept, a worse file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_nets import make

from benchmarks.__main__ import FIGURES, GROUPS
from benchmarks.convert import choice, corpus, gate, never_worse, peers
from benchmarks.convert.artefacts import artefacts
from benchmarks.convert.built import KINDS, built
from benchmarks.convert.cases import cases
from benchmarks.convert.peers_judge import opened
from benchmarks.convert.rivals import made
from converters.calibrate.collect import float_tensors
from converters.load import load_source
from converters.passes.run import run_passes
from converters.workshop import Proof
from edge_agent.runtimes.choose import load_model_file
from edge_agent.values import TensorSpec

GOOD = {"model": "m", "target": "onnx", "scheme": "int8", "status": 0, "reason": "", "bytes": 10, "sqnr_db": 40.0, "same": 1.0}
GOOD |= {"runtimes": {"onnxruntime 1": ""}, "again": True, "kept": True}


def test_every_group_names_figures() -> None:
    assert {name for names in GROUPS.values() for name in names} <= set(FIGURES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_built_network_runs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(built(kind))
    runtime = load_model_file(path, threads=1)
    answer = next(iter(runtime.run({"x": np.ones(KINDS[kind][1], np.float32)}).values())).copy()
    runtime.close()
    assert np.isfinite(answer).all()
    assert built(kind) == path.read_bytes()


def test_there_are_eighty_conversions_without_anything_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.convert.cases.ASSETS", tmp_path / "none")
    found = cases(tmp_path)
    assert len(found) * 2 * len(corpus.SCHEMES) >= 80
    assert len({case.name for case in found}) == len(found)


def test_what_fails() -> None:
    assert corpus.failures(GOOD) == []
    assert corpus.failures({"kept": True, "status": 3, "reason": "too far"}) == []
    assert corpus.failures({"kept": True, "status": 1, "reason": "crashed"}) == ["failed: crashed"]
    assert corpus.failures({"kept": False, "status": 3, "reason": "too far"}) == ["the source was changed"]
    assert corpus.failures({**GOOD, "runtimes": {"tflite-runtime 2.14.0": "differs"}}) == ["tflite-runtime 2.14.0: differs"]
    assert corpus.failures({**GOOD, "again": False}) == ["other bytes the second time"]


def test_the_corpus_in_words() -> None:
    refused = {
        "model": "m",
        "target": "tflite",
        "scheme": "int8",
        "status": 3,
        "reason": "tflite-int8: no such operator; try",
        "kept": True,
    }
    said = corpus.lines({"models": 1, "old_runtime": False, "conversions": [GOOD, refused, {**GOOD, "again": False}]})
    assert "3 conversions of 1 models: 2 let out, 1 refused with a reason, 1 failures" in said[0]
    assert any("tflite-runtime 2.14.0: not at hand" in line for line in said)
    assert "  refused: m to tflite int8: no such operator" in said


def proof(rows: list[list[float]]) -> Proof:
    array = np.array(rows, np.float32)
    return Proof(Path("m.onnx"), "r", "1", (), (TensorSpec("y", "float32", array.shape[1:]),), {"y": array})


def test_likeness_is_noise_and_the_strongest_output() -> None:
    sqnr_db, same = corpus.likeness(proof([[3, 4], [4, 3]]), proof([[3, 4], [3, 4]]))
    assert sqnr_db == pytest.approx(10 * np.log10(50 / 2))
    assert same == 0.5


def answers(right: int, count: int = 400) -> Any:
    """Of two classes, class 1 is right."""
    return np.eye(2)[(np.arange(count) < right).astype(int)]


def test_the_gate_is_held_to_what_is_lost() -> None:
    labels = np.ones(400, int)
    fine, bad = gate.verdicts(answers(400), answers(400), labels), gate.verdicts(answers(400), answers(380), labels)
    assert fine["lost"] == 0 and all("default, labels" in half["accepted"] for half in fine["judged"])
    assert bad["lost"] == pytest.approx(0.05) and not any(half["accepted"] for half in bad["judged"])
    forged = {"net": "n", "artefact": "a", "lost": 0.05, "judged": [{"lost_other": 0.1, "accepted": ["--strict, labels"]}]}
    assert "  accepted by --strict, labels: n, a, loses 5.00 points" in gate.lines({"artefacts": [forged]})


def test_artefacts_are_files_of_different_answers() -> None:
    graph, _ = run_passes(make("plain")[0])
    made_of = dict(artefacts(graph, dict.fromkeys(float_tensors(graph), (-3.0, 3.0)), 0))
    assert len(set(made_of.values())) == len(made_of) >= 50


def test_what_is_worse() -> None:
    record = {"bytes": 3000, "source_bytes": 1000, "larger": True, "times": 1.5, "slower": True, "sqnr_db": 3.0, "wrong": True}
    assert [said.partition(":")[0] for said in never_worse.bad(record)] == ["larger", "slower", "answers something else (3.0 dB)"]
    assert never_worse.bad({**record, "larger": False, "slower": False, "wrong": False}) == []
    table = never_worse.lines({"m": {never_worse.OURS: {"scheme": "onnx-int8", **record}}})
    assert any("edge-convert build: m: larger" in line for line in table)


def test_a_peer_s_error_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    assert made("quantize_dynamic", tmp_path / "m.onnx", tmp_path / "none.npz", tmp_path / "out.onnx", 4)


def test_two_steps_are_one() -> None:
    first = {"wall_s": 2.0, "peak_rss_mib": 50.0, "status": 0, "kept": False}
    assert peers._both(first, {"wall_s": 1.0, "peak_rss_mib": 90.0, "status": 0}) == {**first, "wall_s": 3.0, "peak_rss_mib": 90.0}
    assert "absent" in peers._both(first, {"absent": "not at hand: no network"})


def test_peers_that_are_not_at_hand_are_said_to_be() -> None:
    said = peers.lines({"homes": {"nncf": "not at hand: no network"}, "nets": {"plain": {"nncf": {"absent": "not at hand", "kept": True}}}})
    assert said[0] == "  nncf: not at hand: no network"
    assert "NO" not in said[-1]


def test_files_are_fed_as_they_want(tmp_path: Path) -> None:
    from converters.targets.tflite_float import emit_tflite_float

    graph, shape = make("plain")
    path = tmp_path / "m.tflite"
    path.write_bytes(emit_tflite_float(run_passes(graph)[0]))
    pixels = np.random.default_rng(0).normal(0, 1, (2, *shape[1:])).astype(np.float32)
    run, feeds, real = opened(path, pixels)
    assert np.isfinite(real(run(feeds[0]))).all()
    assert feeds[0]["x"].size == pixels[0].size


def test_the_choice_in_words() -> None:
    found = {"candidates": 9, "timed": 8, "why": "", "chosen": "a", "best": "b", "times": 1.2, "low": 1.1, "high": 1.3}
    assert choice.lines({"m": found, "n": {"candidates": 0, "timed": 0, "why": ""}})[1].endswith("no")


def test_the_example_is_among_the_cases(tmp_path: Path) -> None:
    case = next(case for case in cases(tmp_path) if case.name == "digits_v1")
    assert load_source(case.model).graph is not None
