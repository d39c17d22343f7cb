"""Weights in a file beside the model: a format of its own, and nothing outside the bundle is ever named by its model file."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_onnx
from weighty import beside_bundle, beside_model

from edge_agent.bundle.archive import read_bundle, read_manifest, unpack, write_bundle
from edge_agent.bundle.golden import load_cases, within
from edge_agent.bundle.manifest import FileEntry, Manifest, StatePair, StateSpec, to_json
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.bundle.onnx_outside import Outside, outside_tensors
from edge_agent.errors import BundleError, ModelError
from edge_agent.runtimes.choose import load_runtime
from edge_agent.runtimes.options import RuntimeOptions


def test_a_bundle_with_weights_beside_its_model_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path, manifest, files = beside_bundle(tmp_path)
    assert [entry.path for entry in manifest.weights_files] == ["model.weights"]
    assert manifest.model_bytes == len(files["model.onnx"]) + len(files["model.weights"])
    assert read_bundle(path) == (manifest, files)
    assert unpack(path, tmp_path / "out") == manifest
    assert (tmp_path / "out" / "model.weights").read_bytes() == files["model.weights"]


@pytest.mark.parametrize("prepack", [True, False])
def test_it_answers_as_its_golden_case_says(tmp_path: Path, prepack: bool) -> None:
    path, manifest, _ = beside_bundle(tmp_path)
    folder = tmp_path / "out"
    unpack(path, folder)
    runtime = load_runtime(manifest, folder, options=RuntimeOptions(prepack=prepack))
    (case,) = load_cases(manifest, folder)
    assert within(case, runtime.run(dict(case.inputs)))


def test_only_such_bundles_have_the_format_that_readers_of_old_refuse(tmp_path: Path) -> None:
    _, manifest, _ = beside_bundle(tmp_path)
    inside = tuple(entry for entry in manifest.files if entry.role != "weights")
    state = StateSpec((StatePair("h", "hn"),))
    assert manifest.format == 3
    assert replace(manifest, state=state).format == 3
    assert replace(manifest, files=inside).format == 1
    assert replace(manifest, files=inside, state=state).format == 2


def changed(manifest: Manifest, **keys: Any) -> bytes:
    return json.dumps(json.loads(to_json(manifest)) | keys).encode()


@pytest.mark.parametrize("number", [1, 2])
def test_an_older_format_with_weights_beside_is_refused(tmp_path: Path, number: int) -> None:
    _, manifest, _ = beside_bundle(tmp_path)
    with pytest.raises(BundleError, match=f"format: is {number}; a bundle with a file of role weights has 3"):
        from_json(changed(manifest, format=number))


def entries(manifest: Manifest, *more: FileEntry, without: str = "") -> tuple[FileEntry, ...]:
    return (*(entry for entry in manifest.files if entry.path != without), *more)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([FileEntry("deeper/more.weights", "weights", 4, "0" * 64)], "in the folder of the model"),
        ([FileEntry(f"{n}.weights", "weights", 4, "0" * 64) for n in range(4)], "names 5 files of weights; at most 4"),
        ([FileEntry("more.weights", "weights", 0, "0" * 64)], "weights of 0 bytes"),
        ([FileEntry("../more.weights", "weights", 4, "0" * 64)], "files[4].path"),
        ([FileEntry("/etc/passwd", "weights", 4, "0" * 64)], "files[4].path"),
    ],
)
def test_what_cannot_be_weights_is_named(tmp_path: Path, more: Sequence[FileEntry], words: str) -> None:
    _, manifest, _ = beside_bundle(tmp_path)
    with pytest.raises(BundleError) as caught:
        from_json(to_json(replace(manifest, files=entries(manifest, *more))))
    assert words in str(caught.value)


def test_a_model_for_another_runtime_has_none(tmp_path: Path) -> None:
    _, manifest, _ = beside_bundle(tmp_path)
    with pytest.raises(BundleError, match="a model for tflite does not have"):
        from_json(changed(manifest, runtime={"name": "tflite"}))


def repacked(tmp_path: Path, edit: Any, *, drop: str = "", keep_role: bool = True) -> tuple[Path, Manifest]:
    """The bundle with another model file, or without the weights, put together by hand: a writer of ours would refuse."""
    from zipfile import ZipFile, ZipInfo

    _, manifest, files = beside_bundle(tmp_path)
    proto = onnx.load_model_from_string(files["model.onnx"])
    edit(proto)
    files["model.onnx"] = proto.SerializeToString()
    if drop:
        del files[drop]
    named = {entry.path: entry for entry in manifest.files if entry.path in files}
    made = tuple(replace(named[path], bytes=len(data), sha256=hashlib.sha256(data).hexdigest()) for path, data in files.items())
    manifest = replace(manifest, files=made)
    path = tmp_path / "hostile.edgemodel"
    with ZipFile(path, "w") as archive:
        for name, data in {"manifest.json": to_json(manifest), **files}.items():
            archive.writestr(ZipInfo(name), data)
    return path, manifest


def refused(path: Path, *words: str) -> None:
    out = path.parent / "refused"
    for read in (read_bundle, lambda p: unpack(p, out)):
        with pytest.raises(BundleError) as caught:
            read(path)
        assert path.name in str(caught.value)
        for word in words:
            assert word in str(caught.value)
        assert not out.exists()


def told(key: str, value: str, *, more: bool = False) -> Any:
    """An edit: the tensor's entry ``key`` says ``value``; with ``more`` a second entry does."""

    def edit(proto: Any) -> None:
        tensor = next(tensor for tensor in proto.graph.initializer if tensor.external_data)
        found = next(entry for entry in tensor.external_data if entry.key == key)
        if more:
            found = tensor.external_data.add(key=key)
        found.value = value

    return edit


@pytest.mark.parametrize(
    "location", ["../../etc/passwd", "/etc/passwd", "golden/00.in0.bin", "", ".", "*/_ORT_MEM_ADDR_/*", "model.weights/"]
)
def test_a_model_that_names_any_other_file_as_its_weights_is_refused(tmp_path: Path, location: str) -> None:
    refused(repacked(tmp_path, told("location", location))[0], "model.onnx", repr(location), "model.weights")


def test_a_second_word_on_the_same_thing_is_refused(tmp_path: Path) -> None:
    refused(repacked(tmp_path, told("location", "/etc/passwd", more=True))[0], "says twice")


@pytest.mark.parametrize(("key", "value"), [("offset", "1"), ("offset", "999999999999"), ("length", "999999999999999999")])
def test_a_tensor_that_ends_behind_the_end_of_the_file_is_refused(tmp_path: Path, key: str, value: str) -> None:
    refused(repacked(tmp_path, told(key, value))[0], "ends at byte", "of model.weights, which has")


@pytest.mark.parametrize(("key", "value"), [("offset", "-1"), ("length", ""), ("length", "1e3"), ("offset", "٣"), ("length", "9" * 30)])
def test_a_tensor_that_gives_no_number_is_refused(tmp_path: Path, key: str, value: str) -> None:
    refused(repacked(tmp_path, told(key, value))[0], "not a number of bytes")


def hidden_in(place: str) -> Any:
    """An edit: a tensor that lies elsewhere, in a place where no initializer is."""

    def edit(proto: Any) -> None:
        tensor = onnx.TensorProto(name="hidden", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="/etc/passwd")
        tensor.external_data.add(key="length", value="4")
        node = onnx.helper.make_node("Constant", [], ["hidden"], value=tensor)
        if place == "attribute":
            proto.graph.node.append(node)
        elif place == "subgraph":
            inner = onnx.helper.make_graph([node], "inner", [], [])
            proto.graph.node.append(onnx.helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner))
        elif place == "function":
            proto.functions.append(onnx.helper.make_function("d", "f", [], ["hidden"], [node], []))
        elif place == "sparse":
            proto.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor, indices=tensor, dims=[1]))
        else:
            proto.training_info.append(onnx.TrainingInfoProto(algorithm=onnx.helper.make_graph([node], "inner", [], [])))

    return edit


@pytest.mark.parametrize("place", ["attribute", "subgraph", "function", "sparse", "training"])
def test_tensors_are_found_wherever_they_hide(tmp_path: Path, place: str) -> None:
    refused(repacked(tmp_path, hidden_in(place))[0], "'hidden'", "/etc/passwd")


def test_weights_outside_that_no_file_of_the_bundle_holds_are_refused(tmp_path: Path) -> None:
    refused(repacked(tmp_path, lambda proto: None, drop="model.weights")[0], "files of weights: none")


def test_weights_that_the_model_does_not_name_are_refused(tmp_path: Path) -> None:
    def inline(proto: Any) -> None:
        for tensor in proto.graph.initializer:
            if tensor.external_data:
                del tensor.external_data[:]
                tensor.data_location = 0

    path, _ = repacked(tmp_path, inline)
    refused(path, "keeps no tensor in model.weights")


def test_a_writer_refuses_what_a_reader_would(tmp_path: Path) -> None:
    _, manifest, files = beside_bundle(tmp_path)
    model = files["model.onnx"].replace(b"model.weights", b"other.weights")
    named = tuple(replace(e, sha256=hashlib.sha256(model).hexdigest()) if e.path == "model.onnx" else e for e in manifest.files)
    target = tmp_path / "other.edgemodel"
    with pytest.raises(BundleError, match=r"other\.weights"):
        write_bundle(target, replace(manifest, files=named), {**files, "model.onnx": model})
    assert not target.exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


@pytest.mark.parametrize(("harm", "words"), [(cut, "the manifest says"), (Path.unlink, "cannot be opened")])
@pytest.mark.parametrize("prepack", [True, False])
def test_weights_that_were_cut_short_or_lost_are_refused_before_anything_maps_them(
    tmp_path: Path, harm: Any, words: str, prepack: bool
) -> None:
    path, manifest, _ = beside_bundle(tmp_path)
    folder = tmp_path / "out"
    unpack(path, folder)
    harm(folder / "model.weights")
    with pytest.raises(ModelError, match=f"model.weights: .*{words}"):
        load_runtime(manifest, folder, options=RuntimeOptions(prepack=prepack))


@pytest.mark.parametrize("keep", [0, 1, 0.5])
def test_weights_that_are_damaged_or_cut_in_the_bundle_are_refused(tmp_path: Path, keep: float) -> None:
    path, _, files = beside_bundle(tmp_path)
    data = bytearray(path.read_bytes())
    start = data.find(files["model.weights"])
    if keep == 1:
        data[start + 5000] ^= 1
    else:
        del data[start + int(keep * len(files["model.weights"])) :]
    path.write_bytes(data)
    with pytest.raises(BundleError):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_lies_outside_is_told_tensor_by_tensor(tmp_path: Path) -> None:
    model, weights = beside_model(tmp_path)
    found = list(outside_tensors(memoryview(model)))
    assert [tensor.tensor for tensor in found] == ["w"]
    assert found[0] == Outside("w", "model.weights", 0, len(weights))
    assert list(outside_tensors(memoryview(tiny_onnx(tmp_path / "tiny.onnx").read_bytes()))) == []


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), at=st.integers(0, 400), cut_at=st.integers(0, 400))
def test_damaged_model_files_are_one_error_or_none(data: bytes, at: int, cut_at: int) -> None:
    model = whole_model()
    for text in (data, model[:at] + data + model[at:], model[:cut_at]):
        try:
            list(outside_tensors(memoryview(text)))
        except BundleError as error:
            assert "\n" not in str(error)


def all_tensors(message: Any) -> Iterator[Any]:
    """Every TensorProto in ``message``, as the library sees it, whatever it lies in."""
    for _, value in message.ListFields():
        for inner in value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]:
            if isinstance(inner, onnx.TensorProto):
                yield inner
            elif hasattr(inner, "ListFields"):
                yield from all_tensors(inner)


@settings(max_examples=500, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255), st.sampled_from("=+-")), min_size=1, max_size=4))
def test_what_the_library_reads_in_a_damaged_file_is_seen_or_refused(edits: list[tuple[int, int, str]]) -> None:
    damaged = bytearray(hiding_model())
    for at, byte, how in edits:
        at %= len(damaged)
        damaged[at : at + (how != "+")] = b"" if how == "-" else bytes([byte])
    try:
        proto = onnx.ModelProto.FromString(bytes(damaged))
        ours = {(tensor.location, tensor.offset, tensor.length) for tensor in outside_tensors(memoryview(bytes(damaged)))}
    except (BundleError, DecodeError):
        return
    for tensor in all_tensors(proto):
        told = {as_text(entry.key): as_text(entry.value) for entry in tensor.external_data}
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            assert (told.get("location", ""), int(told.get("offset", "0")), int(told["length"])) in ours


def as_text(value: str | bytes) -> str:
    """The library gives text that is not UTF-8 as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@functools.cache
def hiding_model() -> bytes:
    """A model with a tensor outside in every place that there is."""
    proto = onnx.load_model_from_string(whole_model())
    for place in ("attribute", "subgraph", "function", "sparse", "training"):
        hidden_in(place)(proto)
    return bytes(proto.SerializeToString())


@functools.cache
def whole_model() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return beside_model(Path(folder))[0]


def test_the_manifest_alone_can_be_read(tmp_path: Path) -> None:
    path, manifest, _ = beside_bundle(tmp_path)
    assert read_manifest(path) == manifest
