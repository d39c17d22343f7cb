"""Samples are streamed, divided fairly, and refused by name where they do not fit."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import InputError
from converters.npz import NpzFile
from converters.samples import Samples
from edge_agent.bundle.manifest import Step
from edge_agent.values import TensorSpec

IMAGE = (TensorSpec("image", "float32", (1, 1, 4, 4)),)
TWO = (TensorSpec("a", "float32", (1, 2)), TensorSpec("b", "float32", (1, 3)))
HALVE = (Step("scale", {"factor": 0.5}),)


def write(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path / "s.npz", **arrays)
    return path / "s.npz"


def test_rows_go_through_the_device_preprocessing(tmp_path: Path) -> None:
    pixels = np.arange(160, dtype=np.uint8).reshape(10, 16)
    samples = Samples(write(tmp_path, image=pixels), IMAGE, HALVE)
    fed = list(samples.feeds((2, 7)))
    assert fed[0]["image"].shape == (1, 1, 4, 4)
    assert fed[0]["image"].dtype == np.float32
    np.testing.assert_array_equal(fed[1]["image"].ravel(), pixels[7] * 0.5)


def test_pictures_reach_steps_that_take_pictures_as_the_camera_gives_them(tmp_path: Path) -> None:
    pictures = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    steps = (Step("crop", {"size": [2, 2]}), Step("colour", {"to": "bgr"}))
    samples = Samples(write(tmp_path, window=pictures), (TensorSpec("x", "uint8", (1, 2, 2, 3)),), steps)
    for feed, picture in zip(samples.feeds([0, 1]), pictures, strict=True):
        assert np.array_equal(feed["x"][0], picture[1:3, 2:4, ::-1])


def test_each_input_has_its_array_or_all_share_the_window(tmp_path: Path) -> None:
    path = write(tmp_path, a=np.ones((5, 2)), b=np.ones((5, 3)))
    fed = next(Samples(path, TWO, (Step("scale", {"factor": 3.0, "input": "b"}),)).feeds((0,)))
    assert fed["a"].tolist() == [[1, 1]]
    assert fed["b"].tolist() == [[3, 3, 3]]
    steps = (Step("select", {"channels": [0, 1], "input": "a"}),)
    shared = next(Samples(write(tmp_path, window=np.arange(15).reshape(5, 3)), TWO, steps).feeds((1,)))
    assert (shared["a"].tolist(), shared["b"].tolist()) == ([[3, 4]], [[3, 4, 5]])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    order=st.sampled_from("CF"),
    dtype=st.sampled_from(["u1", "<i4", ">i2", "<f4", ">f8", "?"]),
    data=st.data(),
)
def test_streamed_rows_are_what_numpy_reads(tmp_path: Path, shape: list[int], order: Any, dtype: str, data: st.DataObject) -> None:
    array = np.asarray(np.random.default_rng(1).integers(0, 2, shape).astype(dtype), order=order)
    path = write(tmp_path, x=array)
    wanted = sorted(data.draw(st.sets(st.integers(0, shape[0] - 1))))
    for row, got in zip(wanted, NpzFile(path).rows("x", wanted), strict=True):
        np.testing.assert_array_equal(got, array[row])
        assert got.dtype == array.dtype


def test_no_sample_is_both_calibrated_and_judged_on(tmp_path: Path) -> None:
    samples = Samples(write(tmp_path, image=np.zeros((100, 16))), IMAGE, ())
    split = samples.split(calibration=30, evaluation=1000, seed=4)
    assert len(split.calibrate) == 30
    assert len(split.evaluate) == 70
    assert not set(split.calibrate) & set(split.evaluate)
    assert not split.shared
    assert split == samples.split(calibration=30, evaluation=1000, seed=4)
    assert split != samples.split(calibration=30, evaluation=1000, seed=5)


def test_the_file_may_say_which_rows_calibrate(tmp_path: Path) -> None:
    path = write(tmp_path, image=np.zeros((20, 16)), calibrate=[3, 1, 1])
    split = Samples(path, IMAGE, ()).split(calibration=200, evaluation=1000, seed=0)
    assert split.calibrate == (1, 3)
    assert split.evaluate == tuple(i for i in range(20) if i not in (1, 3))


def test_a_single_array_feeds_a_single_input_whatever_its_name(tmp_path: Path) -> None:
    samples = Samples(write(tmp_path, pixels=np.arange(80.0).reshape(5, 16), labels=np.zeros(5)), IMAGE, ())
    assert next(samples.feeds([2]))["image"].ravel()[0] == 32


def test_few_samples_serve_both_and_say_so(tmp_path: Path) -> None:
    split = Samples(write(tmp_path, image=np.zeros((6, 16))), IMAGE, ()).split(calibration=200, evaluation=1000, seed=0)
    assert split.shared
    assert split.calibrate == split.evaluate == tuple(range(6))


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"img": np.zeros((5, 16)), "other": np.zeros((5, 1))}, r"has no array named 'image'.*it holds img \(5, 16\), other \(5, 1\)"),
        ({"image": np.zeros((0, 16))}, "holds no samples"),
        ({"image": np.zeros((5, 16)), "labels": np.zeros(4)}, "image 5 rows, labels 4 rows"),
        ({"image": np.zeros((5, 16)), "labels": np.full(5, 0.5)}, "array labels: must be a list of whole numbers"),
        ({"image": np.zeros((5, 16)), "calibrate": [9]}, "array calibrate: must hold row numbers from 0 to 4"),
        ({"image": np.float32(1)}, "one row for each sample"),
        ({"image": np.zeros((5, 4, 4, 1))}, r"rows of shape \(4, 4, 1\), the model takes \(1, 1, 4, 4\)"),
        ({"image": np.array(["a", "b"])}, "numbers were expected"),
        ({"image": np.array([{}], object)}, "numbers were expected"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, arrays: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        Samples(write(tmp_path, **arrays), IMAGE, ())


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity")])
def test_a_sample_that_is_no_number_is_named_by_row(tmp_path: Path, bad: float, what: str) -> None:
    pixels = np.zeros((5, 16))
    pixels[3, 2] = bad
    with pytest.raises(InputError, match=f"array image, row 3: holds {what}"):
        list(Samples(write(tmp_path, image=pixels), IMAGE, ()).feeds(range(5)))


def test_rows_of_another_size_are_named_with_both_shapes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"array image, row 0: input image: the window gives 15 values"):
        list(Samples(write(tmp_path, image=np.zeros((5, 15))), IMAGE, ()).feeds((0,)))


def test_files_that_are_damaged_or_lie_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path, image=np.random.default_rng(1).normal(size=(50, 16))).read_bytes()
    for number, data in enumerate((b"", b"hello", whole[:-30], whole[:200] + bytes([whole[200] ^ 255]) + whole[201:])):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(data)
        with pytest.raises(InputError, match=path.name):
            list(Samples(path, IMAGE, ()).feeds(range(50)))
    lying = tmp_path / "lying.npz"
    with zipfile.ZipFile(lying, "w") as archive, archive.open("image.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 16)})
        stream.write(bytes(128))
    with pytest.raises(InputError, match="ends before its last row"):
        list(Samples(lying, IMAGE, ()).feeds((0, 1)))


def entry_of(shape: tuple[int, ...], path: Path) -> Path:
    """A samples file whose array ``x`` says to have ``shape`` and has 1000 bytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", head.getvalue() + bytes(1000))
    return path


@pytest.mark.parametrize("shape", [(10**12, 64), (5, 10**12), (-5, 4)])
def test_an_array_shorter_than_it_says_is_named(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="array x is damaged"):
        NpzFile(entry_of(shape, tmp_path / "s.npz"))


def test_damage_in_rows_that_are_not_read_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, x=np.arange(4000, dtype=np.float32).reshape(-1, 4))
    data = bytearray(path.read_bytes())
    data[9000] ^= 1
    path.write_bytes(data)
    file = NpzFile(path)
    assert len(list(file.rows("x", [0]))) == 1
    with pytest.raises(InputError, match="array x is damaged"):
        file.check()
