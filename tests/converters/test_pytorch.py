"""PyTorch's formats: what a file is and would run is told from its bytes, and translations answer as the original."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import InputError
from converters.loaders.declared import declared
from converters.loaders.pickled import imports_in
from converters.loaders.pytorch import translate_pytorch
from converters.loaders.torch_archive import MODULE, PROGRAM, SCRIPT, kind_in
from converters.tools.environments import TOOLS, find
from converters.translate import TRANSLATORS, Asked
from edge_agent.values import TensorSpec

PYTORCH = find(TOOLS["pytorch"])
needs_pytorch = pytest.mark.skipif(PYTORCH is None, reason="tool environment pytorch is not made (edge-convert tools add pytorch)")
pytestmark = pytest.mark.timeout(600)  # importing a framework on a busy machine
IMAGE = ("image:float32[1,3,8,8]",)


def silent(text: str) -> None:
    pass


class Runs:
    """Runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("true",))


PLAIN, ACTS = pickle.dumps(OrderedDict(a=1), protocol=2), pickle.dumps(Runs(), protocol=2)


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as held:
        for name, data in files.items():
            held.writestr("net/" + name.replace("__", "/").replace("_dot_", "."), data)
    return path


def nested(data: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as inner:
        inner.writestr("archive/data.pkl", data)
    return held.getvalue()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_a_pickle_imports_is_told_without_loading_it(protocol: int) -> None:
    data = pickle.dumps([Runs(), OrderedDict(b=Runs(), c=Path("/x"))], protocol=protocol)
    found = imports_in(data)
    assert "posix.system" in found and "collections.OrderedDict" in found and any(name.startswith("pathlib") for name in found)
    assert imports_in(data + ACTS) == found
    assert imports_in(pickle.dumps({"a": [1, 2.0, "x"]}, protocol=protocol)) == frozenset()


def test_a_name_put_together_at_run_time_counts_as_foreign(tmp_path: Path) -> None:
    tricky = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93."  # by way of the memo
    assert imports_in(tricky) == {"os.system"}
    unknown = b"\x80\x04(\x8c\x02osK\x01l\x93."
    assert imports_in(unknown) - {"collections.OrderedDict"}
    with pytest.raises(InputError, match="pickled module"):
        kind_in(archive(tmp_path / "m.pt", data_dot_pkl=unknown), trust=False)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_pickle_or_are_not(data: bytes) -> None:
    try:
        found = imports_in(data)
    except ValueError:
        return
    assert all(isinstance(name, str) for name in found)


def test_formats_are_told_apart(tmp_path: Path) -> None:
    script = {"constants_dot_pkl": PLAIN, "data_dot_pkl": PLAIN, "code____torch___dot_py": b"return torch.relu(x)"}
    assert kind_in(archive(tmp_path / "s.pt", **script), trust=False) == SCRIPT
    program = {"archive_format": b"pt2", "models__model_dot_json": b"{}", "data__sample_inputs__model_dot_pt": nested(PLAIN)}
    assert kind_in(archive(tmp_path / "p.pt2", **program), trust=False) == PROGRAM


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"archive_format": b"pt2", "data__sample_inputs__model_dot_pt": nested(ACTS)}, "posix.system"),
        ({"archive_format": b"pt2", "data__constants__custom_obj_0": b""}, "custom_obj_0"),
        ({"constants_dot_pkl": PLAIN, "data_dot_pkl": ACTS}, "posix.system"),
        ({"constants_dot_pkl": PLAIN, "code__net_dot_py": b"torch.save(x, '/home')"}, "torch.save"),
        ({"constants_dot_pkl": PLAIN, "code__net_dot_py": b"y = ops.mine.act(x)"}, "ops.mine"),
    ],
)
def test_what_would_act_is_refused_by_name_unless_trusted(tmp_path: Path, files: dict[str, bytes], named: str) -> None:
    path = archive(tmp_path / "m.pt2", **files)
    with pytest.raises(InputError, match=rf"m\.pt2: would run or touch.*{named}.*--trust"):
        kind_in(path, trust=False)
    assert kind_in(path, trust=True) in (PROGRAM, SCRIPT)


def test_weights_and_pickled_modules_are_told_what_they_lack(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"w\.pth: holds weights only .*package\.module:function.*--weights"):
        kind_in(archive(tmp_path / "w.pth", data_dot_pkl=PLAIN), trust=True)
    path = archive(tmp_path / "m.pt", data_dot_pkl=ACTS)
    with pytest.raises(InputError, match=r"m\.pt: is a pickled module \(posix\.system\).*torch\.export\.save"):
        kind_in(path, trust=False)
    assert kind_in(path, trust=True) == MODULE


@pytest.mark.parametrize("content", [b"", b"PK", b"text", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", nested(b"\x80\x02c")])
def test_what_is_no_pytorch_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.pt: is (no PyTorch file|a damaged)"):
        kind_in(tmp_path / "m.pt", trust=False)


def test_code_is_not_imported_untrusted_and_its_module_must_be_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text("raise SystemExit('was imported')")
    with pytest.raises(InputError, match=r"nets:make: is code.*--trust"):
        translate_pytorch(Asked("nets:make"), tmp_path, silent)
    with pytest.raises(InputError, match=r"there is no module other\.nets"):
        translate_pytorch(Asked("other.nets:make", trust=True), tmp_path, silent)
    monkeypatch.setenv("EDGE_CONVERT_TOOLS", str(tmp_path / "none"))
    with pytest.raises(InputError, match="nets:make: needs the tool environment pytorch"):
        TRANSLATORS["pytorch"](Asked("nets:make", trust=True), tmp_path, silent)
    assert "nets" not in sys.modules and not (tmp_path / "__pycache__").exists()


def test_inputs_are_declared_in_words() -> None:
    assert declared(["image:float32[1, 3,?,8]", "n:int64[]"]) == (
        TensorSpec("image", "float32", (1, 3, None, 8)),
        TensorSpec("n", "int64", ()),
    )
    for text in ("image", "image:float32", "image:float99[1]", "image:float32[a]", "image:float32[0]", ":float32[1]", "image:float32[-1]"):
        with pytest.raises(InputError, match="--input"):
            declared([text])


NETS = """
import torch, torch.nn as nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 3)
    def forward(self, image):
        x = torch.relu(self.norm(self.conv(image))).mean((2, 3))
        return {"kind": torch.softmax(self.last(x), -1), "size": x.sum(-1, keepdim=True)}
class One(Net):
    def forward(self, image):
        return super().forward(image)["kind"]
"""
BUILD = """
import torch
from nets import Net, One
torch.manual_seed(0)
net, x = One().eval(), torch.randn(1, 3, 8, 8)
torch.export.save(torch.export.export(Net().eval(), (x,)), "two.pt2")
torch.export.save(torch.export.export(One().train(), (x.repeat(2, 1, 1, 1),)), "training.pt2")
torch.jit.save(torch.jit.trace(net, x), "script.pt")
torch.save({"state_dict": net.state_dict()}, "weights.pth")
torch.save(net, "whole.pt")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pytorch")
    (folder / "nets.py").write_text(NETS)
    (folder / "build.py").write_text(BUILD)
    subprocess.run([str(PYTORCH), "-B", "build.py"], cwd=folder, check=True, capture_output=True)
    return folder


@needs_pytorch
@pytest.mark.parametrize(
    ("model", "options", "outputs"),
    [
        ("two.pt2", {}, ["kind", "size"]),
        ("script.pt", {"inputs": IMAGE}, ["output"]),
        ("nets:One", {"inputs": IMAGE, "weights": Path("weights.pth"), "trust": True}, ["output"]),
        ("whole.pt", {"inputs": IMAGE, "trust": True}, ["output"]),
    ],
)
def test_translations_keep_names_and_answers(
    files: Path, model: str, options: dict[str, Any], outputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files.iterdir()}
    samples = tmp_path / "s.npz"
    np.savez(samples, image=np.random.default_rng(0).random((9, 3, 8, 8), np.float32))
    made = translate_pytorch(Asked(model, samples=samples, **options), tmp_path, silent)
    net = onnx.load(str(made.file))
    assert [value.name for value in net.graph.input] == ["image"] and [value.name for value in net.graph.output] == outputs
    assert all(not tensor.external_data for tensor in net.graph.initializer) and not net.functions
    assert "on 16 inputs" in made.notes[0]
    assert before == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files.iterdir()}


@needs_pytorch
@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("script.pt", {}, "does not say the sizes of its 1 inputs; give --input 'image:float32"),
        ("training.pt2", {}, "was exported in training mode"),
        ("nets:One", {"trust": True}, "does not say the sizes of its inputs"),
        ("nets:Missing", {"trust": True, "inputs": IMAGE}, "no attribute 'Missing'"),
    ],
)
def test_what_is_missing_is_said(
    files: Path, model: str, options: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    with pytest.raises(InputError, match=said):
        translate_pytorch(Asked(model, **options), tmp_path, silent)


@needs_pytorch
def test_the_same_file_gives_the_same_bytes(files: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first, second = (translate_pytorch(Asked(str(files / "two.pt2")), folder, silent).file.read_bytes() for folder in folders)
    assert first == second
