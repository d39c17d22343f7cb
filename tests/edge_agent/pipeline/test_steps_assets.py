"""Published models with real data, where a folder of them is at hand (EDGE_ASSETS_DIR, or ../shared/assets beside the repository): declared
steps around the model give the figures that the models' own scripts give with arithmetic of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.bundle.manifest import Step
from edge_agent.pipeline.boxes import overlap
from edge_agent.pipeline.postprocess import compile_postprocess
from edge_agent.pipeline.preprocess import compile_preprocess
from edge_agent.ports import Runtime
from edge_agent.runtimes.choose import load_model_file
from edge_agent.values import TensorSpec

Image = pytest.importorskip("PIL.Image", reason="Pillow, of the extra test, reads the pictures")

ASSETS = Path(os.environ.get("EDGE_ASSETS_DIR", Path(__file__).parents[4] / "shared" / "assets"))


def asset(*parts: str) -> Path:
    path = ASSETS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not there; set EDGE_ASSETS_DIR")
    return path


def model(*parts: str) -> Runtime:
    path = asset(*parts)
    pytest.importorskip(
        "onnxruntime" if path.suffix == ".onnx" else "ai_edge_litert", reason=f"the runtime of {path.name} is not installed"
    )
    return load_model_file(path)


def picture(*parts: str) -> Any:
    return np.asarray(Image.open(asset(*parts)).convert("RGB"))


FACES = {
    "face.jpg": [[0.5, 0.199, 0.702, 0.49], [0.258, 0.295, 0.448, 0.569]],
    "grace_hopper.png": [[0.336, 0.247, 0.715, 0.57]],
    "cat.png": [],
    "bird.png": [],
}
"""Corners that MediaPipe 0.10.21 itself finds."""


def test_faces_are_found_where_mediapipe_finds_them() -> None:
    runtime = model("08_detect_face_f16", "face_detection_short_range.tflite")
    before = compile_preprocess(
        (Step("resize", {"size": [128, 128], "letterbox": True}), Step("normalize", {"mean": 127.5, "std": 127.5})), runtime.inputs
    )
    args = {
        "kind": "blazeface",
        "boxes": "regressors",
        "scores": "classificators",
        "maps": [[16, 16], [8, 8]],
        "shapes": [[[1, 1]] * 2, [[1, 1]] * 6],
        "letterbox": [128, 128],
        "min_score": 0.5,
        "iou": 0.3,
    }
    after = compile_postprocess((Step("boxes", args),), runtime.outputs, ("face",))
    shared = []
    for name, faces in FACES.items():
        frame = picture("08_detect_face_f16", "images", name)
        boxes = after(runtime.run(before(frame)), None, frame).boxes
        assert len(boxes) == len(faces), name
        shared += [max(overlap(np.array([box.x0, box.y0, box.x1, box.y1]), np.array(faces))) for box in boxes]
    assert len(shared) == 3
    assert np.mean(shared) == pytest.approx(0.935, abs=0.02)


def test_a_padded_and_shrunk_photo_is_pillows() -> None:
    frame = picture("08_detect_face_f16", "images", "face.jpg")
    height, width = frame.shape[:2]
    most = max(height, width)
    top, left = (most - height) // 2, (most - width) // 2
    square = Image.new("RGB", (most, most))
    square.paste(Image.fromarray(frame), (left, top))
    wanted = np.asarray(square.resize((128, 128), Image.Resampling.BILINEAR), np.float32) / 127.5 - 1
    steps = (
        Step("pad", {"before": [top, left, 0], "after": [most - height - top, most - width - left, 0]}),
        Step("resize", {"size": [128, 128]}),
        Step("normalize", {"mean": 127.5, "std": 127.5}),
    )
    got = compile_preprocess(steps, (TensorSpec("x", "float32", (1, 128, 128, 3)),))(frame)["x"][0]
    assert np.allclose(got, wanted, atol=1.01 / 127.5)
    assert (np.abs(got - wanted) < 1e-5).mean() > 0.99


def test_keyword_codes_go_in_as_they_are_and_as_real_numbers() -> None:
    runtime = model("02_keyword_dscnn", "kws_dscnn_int8.tflite")
    held = np.load(asset("02_keyword_dscnn", "features_int8.npz"))
    (spec,) = runtime.inputs
    assert spec.scale is not None and spec.zero_point is not None
    raw, real = compile_preprocess((Step("raw"),), (spec,)), compile_preprocess((), (spec,))
    words = tuple(str(number) for number in range(12))
    after = compile_postprocess((Step("argmax"),), runtime.outputs, words)
    right = 0
    for codes, label in zip(held["X"], held["y"], strict=True):
        feed = raw(codes)
        assert np.array_equal(feed[spec.name][0], codes)
        assert np.array_equal(real((codes.astype(np.float32) - spec.zero_point) * spec.scale)[spec.name][0], codes)
        right += after(runtime.run(feed)).label == str(label)
    assert right / len(held["y"]) == pytest.approx(0.902, abs=0.002)


@pytest.mark.parametrize(
    ("name", "score", "tolerance"),
    [("ad01_fp32.tflite", 9.70711, 0.001), ("ad01_int8.tflite", 10.2652, 0.02), ("ad01_from_h5.onnx", 9.49129, 0.001)],
)
def test_the_toy_car_is_as_odd_as_published(name: str, score: float, tolerance: float) -> None:
    runtime = model("04_anomaly_toycar_autoencoder", name)
    frames = np.fromfile(asset("04_anomaly_toycar_autoencoder", "normal_id_01_00000000_hist_librosa.bin"), "<f4").reshape(-1, 128)
    before = compile_preprocess((), runtime.inputs)
    after = compile_postprocess((Step("reconstruction_error", {"of": "window"}),), runtime.outputs, (), runtime.inputs)
    found = []
    for at in range(len(frames) - 4):
        window = frames[at : at + 5]
        feed = before(window)
        found.append(after(runtime.run(feed), feed, window).score)
    assert len(found) == 196 and np.mean(found) == pytest.approx(score, abs=tolerance)


def text_steps(height: int, width: int) -> tuple[Step, ...]:
    return (
        Step("resize", {"size": [height, width]}),
        Step("colour", {"to": "bgr"}),
        Step("scale", {"factor": 1 / 255}),
        Step("normalize", {"mean": 0.5, "std": 0.5}),
        Step("transpose", {"axes": [2, 0, 1]}),
    )


def test_text_is_found_where_the_reference_finds_it() -> None:
    runtime = model("09_text_detect_ppocrv4", "ch_PP-OCRv4_det_infer.onnx")
    reference = json.loads(asset("09_text_detect_ppocrv4", "reference_boxes.json").read_text())
    name = "en.jpg"
    frame = picture("09_text_detect_ppocrv4", "images", name)
    high, wide = frame.shape[:2]
    ratio = min(max(1.0, 736 / min(wide, high)), 2000 / max(wide, high))
    height, width = (max(32, round(side * ratio / 32) * 32) for side in (high, wide))
    feed = compile_preprocess(text_steps(height, width), (TensorSpec("x", "float32", (1, 3, height, width)),))(frame)
    resized = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR), np.float32)
    assert np.allclose(feed["x"][0], ((resized[:, :, ::-1] / 255 - 0.5) / 0.5).transpose(2, 0, 1), atol=1.01 / 127.5)
    likely = next(iter(runtime.run(feed).values()))[0, 0] > 0.3
    for corners in reference[name]:
        x, y = (np.array(side) for side in zip(*corners, strict=True))
        inside = likely[
            int(y.min() * height / high) : int(y.max() * height / high), int(x.min() * width / wide) : int(x.max() * width / wide)
        ]
        assert inside.mean() > 0.2


def test_a_text_turned_upside_down_is_told_from_one_that_is_not() -> None:
    runtime = model("09_text_detect_ppocrv4", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    frame = picture("09_text_detect_ppocrv4", "images", "text_cls.jpg")
    (spec,) = runtime.inputs
    width = min(192, int(np.ceil(48 * frame.shape[1] / frame.shape[0])))
    steps = (*text_steps(48, width), Step("pad", {"before": [0, 0, 0], "after": [0, 0, 192 - width]}))
    before = compile_preprocess(steps, (TensorSpec(spec.name, "float32", (1, 3, 48, 192)),))
    after = compile_postprocess((Step("argmax"),), runtime.outputs, ("upright", "turned"))
    said = [after(runtime.run(before(np.ascontiguousarray(view)))) for view in (frame, frame[::-1, ::-1])]
    assert [verdict.label for verdict in said] == ["turned", "upright"]
    assert all(verdict.score is not None and verdict.score > 0.98 for verdict in said)
