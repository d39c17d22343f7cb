"""Models that do not classify are judged by the measure of their kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_nets import Net

from converters.__main__ import main
from converters.errors import InputError
from converters.metrics.boxes import box_reader, detections
from converters.metrics.detection import compare_detections
from converters.metrics.reconstruction import area, compare_reconstruction
from converters.metrics.regression import compare_regression
from converters.metrics.said import MetricSaid
from converters.processing import read_processing
from edge_agent.bundle.manifest import Step


def test_a_regressor_loses_what_it_explains_less() -> None:
    random = np.random.default_rng(0)
    targets = random.normal(size=(300, 1))
    exact = compare_regression(targets, targets, targets)
    assert (exact.before, exact.after, exact.drop) == (1, 1, 0)
    noisy = compare_regression(targets, targets + random.normal(0, 0.3, (300, 1)), targets)
    assert noisy.drop == pytest.approx(0.09, abs=0.02)
    assert noisy.drop_low < noisy.drop < noisy.drop_high
    with pytest.raises(InputError, match="have 2 values a row, the model gives 1"):
        compare_regression(targets, targets, np.zeros((300, 2)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=40))
def test_the_area_counts_pairs(pairs: list[tuple[int, bool]]) -> None:
    given, odd = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    if odd.all() or not odd.any():
        assert np.isnan(area(given, odd))
        return
    won = [(a > b) + 0.5 * (a == b) for a in given[odd] for b in given[~odd]]
    assert area(given, odd) == pytest.approx(float(np.mean(won)))


def test_an_alarm_threshold_follows_the_candidates_scores() -> None:
    before = np.linspace(0, 10, 101)
    moved = compare_reconstruction(before, before * 1.1 + 0.2, 9.05, None)
    assert moved.threshold is not None
    assert moved.threshold.derived == pytest.approx(9.05 * 1.1 + 0.2)
    assert moved.drop == 0
    shuffled = compare_reconstruction(before, before[::-1], 9.05, None)
    assert shuffled.drop == pytest.approx(20 / 101)
    labelled = compare_reconstruction(before, before[::-1], None, (before > 5).astype(int))
    assert labelled.name == "AUC"
    assert labelled.drop == pytest.approx(1.0)


def yolo(boxes: list[tuple[float, float, float, float]], scores: list[list[float]]) -> dict[str, Any]:
    return {"out": np.column_stack([np.array(boxes, float), np.array(scores)]).T[None]}


def test_detections_are_decoded_and_paired() -> None:
    said = MetricSaid(kind="detector", form="yolov8", at=0.3)
    boxes = [(10.0, 10.0, 4.0, 4.0), (10.2, 10.0, 4.0, 4.0), (30.0, 30.0, 6.0, 6.0), (50.0, 50.0, 2.0, 2.0), (0.0, 0.0, 1.0, 1.0)]
    found = detections(yolo(boxes, [[0.9, 0.0], [0.8, 0.1], [0.1, 0.7], [0.2, 0.1], [0.0, 0.0]]), said)
    assert found[:, 4].tolist() == [0, 1]  # the second box is the first one again, the fourth and fifth are too weak
    assert found[0, :4].tolist() == [8, 8, 12, 12]
    corners = {"b": found[None, :, :4], "s": np.array([[[0.9, 0.0], [0.1, 0.7]]])}
    same = detections(corners, MetricSaid(kind="detector", form="corners", boxes="b", scores="s"))
    assert same.tolist() == found.tolist()
    assert compare_detections([found], [same], 0.5).drop == 0
    assert compare_detections([found], [found[:1]], 0.5).drop == pytest.approx(1 / 3)
    assert compare_detections([found], [found[:0]], 0.5).drop == 1
    with pytest.raises(InputError, match="'c' is not an output"):
        detections(corners, MetricSaid(kind="detector", form="corners", boxes="c", scores="s"))


def autoencoder(path: Path) -> Path:
    n = Net((1, 8))
    return n.write(n.dense(n.node("Relu", n.dense("x", 8, 16)), 16, 8), path)


def test_a_build_of_an_autoencoder_tells_its_new_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(3)
    np.savez(tmp_path / "s.npz", x=random.normal(size=(160, 8)).astype(np.float32))
    (tmp_path / "p.toml").write_text("[metric]\nkind = 'autoencoder'\nthreshold = 2.0\n")
    options = ["--profile", "rpi4", "--name", "m", "--version", "1", "--force", "--max-drop", "0.05", "--scheme", "int8", "--no-search"]
    given = ["--samples", str(tmp_path / "s.npz"), "--processing", str(tmp_path / "p.toml"), "-o", str(tmp_path / "m.edgemodel")]
    assert main(["build", str(autoencoder(tmp_path / "m.onnx")), *options, *given, "--json"]) == 0
    item = json.loads(capsys.readouterr().out)["candidates"][0]
    assert item["metric"] == "autoencoder"
    assert item["threshold"]["declared"] == 2.0
    assert item["threshold"]["derived"] == pytest.approx(2.0, abs=0.1)


def test_the_device_steps_say_how_an_autoencoder_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(3)
    np.savez(tmp_path / "s.npz", x=random.normal(size=(160, 8)).astype(np.float32))
    (tmp_path / "p.toml").write_text(ALARM)
    options = ["--profile", "rpi4", "--name", "m", "--version", "1", "--force", "--max-drop", "0.05", "--scheme", "int8", "--no-search"]
    given = ["--samples", str(tmp_path / "s.npz"), "--processing", str(tmp_path / "p.toml"), "-o", str(tmp_path / "m.edgemodel")]
    assert main(["build", str(autoencoder(tmp_path / "m.onnx")), *options, *given, "--json"]) == 0
    item = json.loads(capsys.readouterr().out)["candidates"][0]
    assert (item["metric"], item["threshold"]["declared"]) == ("autoencoder", 2.0)
    (tmp_path / "p.toml").write_text("labels = ['odd']\n[metric]\nkind = 'classifier'\n" + ALARM.split("\n", 1)[1])
    assert main(["build", str(autoencoder(tmp_path / "m.onnx")), *options, *given]) == 2
    assert "metric.kind: is classifier, and the postprocessing step reconstruction_error makes" in capsys.readouterr().err


ALARM = """labels = ['odd']
[[postprocess]]
op = 'reconstruction_error'
[[postprocess]]
op = 'hysteresis'
on = 2.0
off = 1.5
"""


def test_detectors_are_read_by_the_step_that_the_device_runs() -> None:
    step = Step("boxes", {"kind": "corners", "order": "yx", "activation": "sigmoid", "min_score": 0.6})
    read = box_reader(["b", "s"], MetricSaid(kind="detector"), step)
    found = read({"b": np.array([[[2.0, 1.0, 4.0, 3.0], [0.0, 0.0, 9.0, 9.0]]]), "s": np.array([[[0.0, 1.0], [0.1, 0.0]]])})
    assert found.tolist() == [[1, 2, 3, 4, 1, pytest.approx(1 / (1 + np.exp(-1)))]]
    with pytest.raises(InputError, match=r"metric.args.kind: 'rcnn' is not one of"):
        box_reader(["b"], MetricSaid(), Step("boxes", {"kind": "rcnn"}))


def test_a_build_of_a_regressor_is_judged_by_its_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(160, 8)).astype(np.float32)
    n = Net((1, 8))
    model = n.write(n.dense(n.node("Relu", n.dense("x", 8, 16)), 16, 1), tmp_path / "m.onnx")
    common = ["--profile", "rpi4", "--name", "m", "--version", "1", "--force", "--no-search", "-o", str(tmp_path / "m.edgemodel")]
    np.savez(tmp_path / "s.npz", x=x, targets=random.normal(size=160))
    assert main(["build", str(model), *common, "--samples", str(tmp_path / "s.npz"), "--json", "--max-drop", "0.2"]) == 0
    item = json.loads(capsys.readouterr().out)["candidates"][0]
    assert (item["metric"], item["measure"]) == ("regressor", "R²")
    np.savez(tmp_path / "s.npz", x=x)
    (tmp_path / "p.toml").write_text("[metric]\nkind = 'regressor'\n")
    declared = ["--samples", str(tmp_path / "s.npz"), "--processing", str(tmp_path / "p.toml")]
    assert main(["build", str(model), *common, *declared]) == 2
    assert "has no array targets" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind = 'guess'", "metric.kind: 'guess' is not one of classifier"),
        ("at = 1.5", "metric.at: 1.5 is not a share between 0 and 1"),
        ("limit = 3", "metric.limit: is not known here"),
        ("kind = 'detector'\nform = 'corners'", "form corners needs the names of the outputs"),
    ],
)
def test_a_wrong_word_on_the_metric_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(f"[metric]\n{text}\n")
    with pytest.raises(InputError) as caught:
        read_processing(path)
    assert why in str(caught.value)
