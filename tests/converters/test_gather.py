"""Samples that are tables, pictures and sounds: what is gathered of them, and what is said of wrong ones."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_nets import Net

from converters.__main__ import main
from converters.errors import InputError
from converters.gather.gather import gather
from converters.gather.said import SamplesSaid
from converters.processing import read_processing
from edge_agent.values import TensorSpec

FLAT = (TensorSpec("x", "float32", (1, 3)),)
LAST = (TensorSpec("image", "float32", (1, 6, 4, 3)),)
FIRST = (TensorSpec("image", "float32", (1, 3, 6, 4)),)


def gathered(path: Path, inputs: tuple[TensorSpec, ...], said: SamplesSaid | None = None, classes: tuple[str, ...] = ()) -> dict[str, Any]:
    out = path.parent / "gathered.npz"
    gather(path, said or SamplesSaid(), classes, inputs, out)
    with np.load(out) as held:
        return {name: held[name] for name in held.files}


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_columns_are_one_reading_and_the_label_column_is_the_class(tmp_path: Path) -> None:
    held = gathered(table(tmp_path / "t.csv", "a,b,label,c\n1,2,cat,3\n4,5,dog,6.5\n"), FLAT, classes=("dog", "cat"))
    assert held["window"].tolist() == [[1, 2, 3], [4, 5, 6.5]]
    assert held["labels"].tolist() == [1, 0]


def test_columns_named_as_the_inputs_feed_them(tmp_path: Path) -> None:
    inputs = (TensorSpec("age", "float32", (1, 1)), TensorSpec("bmi", "float32", (1, 1)))
    held = gathered(table(tmp_path / "t.csv", "sex,age,bmi\nM,41,24.5\nF,42,31\n"), inputs)
    assert set(held) == {"age", "bmi"}
    assert held["bmi"].tolist() == [24.5, 31]


def test_a_recording_is_cut_into_windows(tmp_path: Path) -> None:
    lines = "".join(f"{i},{-i},{'rest' if i < 6 else 'run'}\n" for i in range(10))
    held = gathered(table(tmp_path / "t.csv", f"x,y,label\n{lines}"), FLAT, SamplesSaid(window=4, hop=3))
    assert held["window"].shape == (3, 4, 2)
    assert held["window"][2, :, 0].tolist() == [6, 7, 8, 9]
    assert held["labels"].tolist() == [0, 1, 1]  # of the last row of each: 3, 6 and 9


@pytest.mark.parametrize(
    ("text", "said", "why"),
    [
        ("", SamplesSaid(), "is empty; its first line must name the columns"),
        ("1,2,3\n4,5,6\n", SamplesSaid(), "line 1: must name the columns, but holds numbers"),
        ("a,b\n1,x\n", SamplesSaid(), "line 2, column b: 'x' is not a number"),
        ("a,b\n1\n", SamplesSaid(), "line 2, column b: '' is not a number"),
        ("a,b\n1,nan\n", SamplesSaid(), "line 2, column b: 'nan' is not a finite number"),
        ("a,a\n1,2\n", SamplesSaid(), "two columns have the same name"),
        ("a,b\n1,2\n", SamplesSaid(columns=("a", "z")), "has no column 'z'"),
        ("a,b\n", SamplesSaid(), "holds no samples"),
        ("a,b\n1,2\n", SamplesSaid(window=5), "is shorter than one window of 5 rows"),
    ],
)
def test_a_wrong_table_is_named_with_line_and_column(tmp_path: Path, text: str, said: SamplesSaid, why: str) -> None:
    with pytest.raises(InputError, match=r"t\.csv") as caught:
        gathered(table(tmp_path / "t.csv", text), FLAT, said)
    assert why in str(caught.value)


def test_a_label_that_no_class_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="label 'bird' is not among the labels"):
        gathered(table(tmp_path / "t.csv", "a,label\n1,bird\n"), FLAT, classes=("dog", "cat"))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        held = gathered(path, FLAT)
    except InputError as error:
        assert "t.csv" in str(error)
    else:
        assert np.isfinite(held["window"]).all()


def picture(path: Path, colour: tuple[int, int, int]) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed, which writes the pictures")
    path.parent.mkdir(exist_ok=True)
    image.new("RGB", (9, 7), colour).save(path)


def test_pictures_take_size_and_layout_of_the_input_and_their_class_of_the_folder(tmp_path: Path) -> None:
    picture(tmp_path / "p" / "blue.png", (0, 0, 0))
    (tmp_path / "p" / "blue.png").unlink()
    picture(tmp_path / "p" / "b" / "1.png", (10, 20, 30))
    picture(tmp_path / "p" / "a" / "1.png", (1, 2, 3))
    last = gathered(tmp_path / "p", LAST)
    assert last["image"].shape == (2, 6, 4, 3)
    assert last["image"][1, 0, 0].tolist() == [10, 20, 30]
    assert last["labels"].tolist() == [0, 1]
    first = gathered(tmp_path / "p", FIRST, SamplesSaid(colour="bgr"))
    assert first["image"].shape == (2, 3, 6, 4)
    assert first["image"][1, :, 0, 0].tolist() == [30, 20, 10]
    grey = gathered(tmp_path / "p", (TensorSpec("x", "float32", (1, 64)),), SamplesSaid(size=(8, 8), colour="grey"))
    assert grey["window"].shape == (2, 8, 8, 1)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "broken.png").write_bytes(b"\x89PNG\r\n")
    pytest.importorskip("PIL.Image", reason="Pillow is not installed, which reads the pictures")
    with pytest.raises(InputError, match=r"broken\.png: cannot be read as a picture"):
        gathered(tmp_path / "p", LAST)
    with pytest.raises(InputError, match=r"size = \[height, width\]"):
        gathered(tmp_path / "p", FLAT)


def sound(path: Path, values: Any, width: int, rate: int = 8000) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        scaled = np.clip(np.rint(values * 2.0 ** (8 * width - 1)), -(2.0 ** (8 * width - 1)), 2.0 ** (8 * width - 1) - 1).astype(np.int64)
        data = (scaled + 128).astype(np.uint8) if width == 1 else scaled.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
        file.writeframes(np.ascontiguousarray(data).tobytes())


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds_of_every_width_are_read_and_made_one_length(tmp_path: Path, width: int) -> None:
    values = np.sin(np.arange(80) / 5) * 0.9
    sound(tmp_path / "s" / "1.wav", values, width)
    sound(tmp_path / "s" / "2.wav", values[:40], width)
    held = gathered(tmp_path / "s", FLAT, SamplesSaid(seconds=0.01))["window"]
    assert held.shape == (2, 80, 1)
    assert np.abs(held[0, :, 0] - values).max() < 1.1 / 2 ** (8 * width - 1) + 1e-7  # of float32 itself
    assert not held[1, 40:].any()


def test_sounds_of_another_rate_are_named(tmp_path: Path) -> None:
    sound(tmp_path / "s" / "1.wav", np.zeros(8), 2)
    sound(tmp_path / "s" / "2.wav", np.zeros(8), 2, rate=16000)
    with pytest.raises(InputError, match=r"2\.wav: has 16000 Hz"):
        gathered(tmp_path / "s", FLAT)
    with pytest.raises(InputError, match=r"1\.wav: has 8000 samples a second, samples\.rate asks for 16000"):
        gathered(tmp_path / "s", FLAT, SamplesSaid(rate=16000))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("windows = 3", "samples.windows: is not known here"),
        ("window = 0", "samples.window: 0 is not a number of rows"),
        ("size = [3]", "samples.size: [3] is not [height, width]"),
        ("colour = 'red'", "samples.colour: 'red' is not one of rgb, bgr, grey"),
        ("columns = []", "samples.columns: [] is not a list of column names"),
        ("seconds = true", "samples.seconds: True is not a number of seconds"),
    ],
)
def test_a_wrong_word_on_samples_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = table(tmp_path / "p.toml", f"[samples]\n{line}\n")
    with pytest.raises(InputError, match=r"p\.toml") as caught:
        read_processing(path)
    assert why in str(caught.value)


def test_a_key_without_end_is_refused_at_once(tmp_path: Path) -> None:
    path = table(tmp_path / "p.toml", "a" + ".a" * 50_000 + " = 1\n")
    with pytest.raises(InputError, match="a key of more than a thousand parts"):
        read_processing(path)
    assert read_processing(table(tmp_path / "q.toml", f"labels = ['{'a.b.' * 2000}']\n")).labels


def test_a_build_on_a_table_repeats_its_bytes(tmp_path: Path) -> None:
    n = Net((1, 3))
    model = n.write(n.dense(n.node("Relu", n.dense("x", 3, 16)), 16, 2), tmp_path / "m.onnx")
    random = np.random.default_rng(1)
    rows = "".join(f"{a:.4f},{b:.4f},{c:.4f}\n" for a, b, c in random.normal(size=(60, 3)))
    samples = table(tmp_path / "s.csv", f"a,b,c\n{rows}")
    options = ["--profile", "rpi4", "--name", "m", "--version", "1", "--samples", str(samples), "-q", "--force", "--no-search"]
    for name in ("one", "two"):
        assert main(["build", str(model), *options, "-o", str(tmp_path / f"{name}.edgemodel")]) == 0
    assert (tmp_path / "one.edgemodel").read_bytes() == (tmp_path / "two.edgemodel").read_bytes()
