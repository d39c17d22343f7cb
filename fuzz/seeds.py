"""Whole files to damage: small ones built here, those the repository has, and those of a folder."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from converters.model import graph_of
from converters.passes.run import run_passes
from converters.targets.tflite_float import emit_tflite_float
from edge_agent.bundle.archive import write_bundle
from edge_agent.bundle.golden import tensor_bytes
from edge_agent.bundle.manifest import FileEntry, GoldenCase, GoldenTensor, Manifest, Requirements, RuntimeRequirement
from edge_agent.values import TensorSpec
from fuzz.flat_seeds import growing_file, winding_file

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 400 << 10
"""Larger files of a folder are left out: a case should take milliseconds."""


@dataclass(frozen=True, slots=True)
class Seed:
    """``kind`` is the subject it is given to (``onnx``, ``tflite``, ``npz``, ``bundle``, ``toml``, ``pmml``)."""

    kind: str
    name: str
    data: bytes


def all_seeds(folder: Path | None) -> tuple[Seed, ...]:
    """Built ones first; of ``folder`` every model file, however deep. The same folder gives the same seeds in the same order."""
    found = [*_onnx_seeds(), *_tflite_seeds(), *_npz_seeds(), _bundle_seed(), *_text_seeds()]
    paths = sorted([*ROOT.glob("benchmarks/nets/*.onnx"), *ROOT.glob("examples/digits/*.onnx")])
    if folder is not None:
        paths += sorted(path for ending in ("onnx", "tflite", "pmml") for path in folder.rglob(f"*.{ending}"))
    paths += sorted(ROOT.glob("tests/converters/pmml/**/*.pmml"))
    found += [Seed(path.suffix[1:], path.name, path.read_bytes()) for path in paths if path.stat().st_size <= MAX_BYTES]
    return tuple(found)


def _model(nodes: list[Any], ends: tuple[list[Any], list[Any]], constants: dict[str, Any], opset: int = 17, domain: str = "") -> bytes:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 3)] if domain else [])]
    graph = helper.make_graph(nodes, "seed", ends[0], ends[1], tensors)
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def _value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _floats(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


def _image_net() -> bytes:
    """Channels-last in and out, batch normalization, padding, a branch, shapes computed at run time."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "g", "g", "v"], ["n"]),
        helper.make_node("Clip", ["n", "low", "high"], ["r"]),
        helper.make_node("Transpose", ["r"], ["l"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["l", "l"], ["m"]),
        helper.make_node("Concat", ["l", "m"], ["j"], axis=3),
        helper.make_node("Transpose", ["j"], ["f"], perm=[0, 3, 1, 2]),
        helper.make_node("MaxPool", ["f"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ReduceMean", ["p"], ["a"], axes=[2, 3], keepdims=0),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Reshape", ["a", "s"], ["q"]),
        helper.make_node("Gemm", ["q", "d", "e"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    constants = {"w": _floats(4, 3, 3, 3), "g": _floats(4), "v": np.ones(4, np.float32), "d": _floats(8, 5), "e": _floats(5)}
    bounds = {"low": np.float32(0), "high": np.float32(6)}
    return _model(nodes, ([_value("x", ["N", 6, 6, 3])], [_value("y", ["N", 5])]), {**constants, **bounds})


def _branching_net() -> bytes:
    then = helper.make_graph([helper.make_node("Relu", ["x"], ["a"])], "then", [], [_value("a", [1, 4])])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "else", [], [_value("b", [1, 4])])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    return _model(nodes, ([_value("x", [1, 4])], [_value("y", [1, 4])]), {"zero": np.float32(0)})


def _tree_net() -> bytes:
    options: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [1, 0, 0],
        "nodes_truenodeids": [1, 0, 0],
    }
    options |= {"nodes_falsenodeids": [2, 0, 0], "class_treeids": [0, 0], "class_nodeids": [1, 2], "class_ids": [0, 1]}
    options["classlabels_int64s"] = [0, 1]
    options |= {"nodes_values": [0.5, 0.0, 0.0], "class_weights": [1.0, 1.0]}
    options |= {"nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "post_transform": "NONE"}
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "p"], None, None, "ai.onnx.ml", **options)
    ends = [_value("x", ["N", 2])], [_value("label", ["N"], TensorProto.INT64), _value("p", ["N", 2])]
    return _model([node], ends, {}, 15, "ai.onnx.ml")


def _recurrent_net() -> bytes:
    node = helper.make_node("LSTM", ["x", "W", "R", "B"], ["y", "h"], hidden_size=3)
    ends = [_value("x", ["T", 1, 2])], [_value("y", ["T", 1, 1, 3]), _value("h", [1, 1, 3])]
    return _model([node], ends, {"W": _floats(1, 12, 2), "R": _floats(1, 12, 3), "B": _floats(1, 24)}, 11)


def _onnx_seeds() -> Iterator[Seed]:
    for make in (_image_net, _branching_net, _tree_net, _recurrent_net):
        yield Seed("onnx", make.__name__.strip("_"), make())


def _tflite_seeds() -> Iterator[Seed]:
    graph, _ = run_passes(graph_of(onnx.ModelProto.FromString(_image_net())))
    yield Seed("tflite", "image_net", emit_tflite_float(graph))
    for make in (winding_file, growing_file):
        yield Seed("tflite", make.__name__, make())


def _npz_seeds() -> Iterator[Seed]:
    arrays = {"x": _floats(6, 4, 3), "labels": np.arange(6) % 3, "calibrate": np.array([0, 2])}
    for name, save in (("stored", np.savez), ("packed", np.savez_compressed)):
        out = io.BytesIO()
        save(out, **arrays)
        yield Seed("npz", name, out.getvalue())


def _bundle_seed() -> Seed:
    model = _recurrent_net()
    golden = {f"golden/{name}.bin": tensor_bytes(_floats(1, 4)) for name in ("x", "y")}
    files = {"model.onnx": model, **golden}
    entries = tuple(
        FileEntry(path, "golden" if path.startswith("golden") else "model", len(data), hashlib.sha256(data).hexdigest())
        for path, data in files.items()
    )
    spec = {name: TensorSpec(name, "float32", (1, 4)) for name in ("x", "y")}
    tensors = {name: GoldenTensor(name, f"golden/{name}.bin", "float32", (1, 4)) for name in ("x", "y")}
    manifest = Manifest(
        name="seed",
        version="1",
        runtime=RuntimeRequirement("onnx", ""),
        files=entries,
        inputs=(spec["x"],),
        outputs=(spec["y"],),
        golden=(GoldenCase((tensors["x"],), (tensors["y"],), 1e-3, 1e-3),),
        requires=Requirements(),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.edgemodel"
        write_bundle(path, manifest, files)
        return Seed("bundle", "seed", path.read_bytes())


def _text_seeds() -> Iterator[Seed]:
    yield Seed(
        "toml",
        "processing",
        b'labels = ["a", "b", "c"]\n[[preprocess]]\nop = "scale"\nfactor = 0.5\n[[preprocess]]\nop = "normalize"\nmean = [1, 2, 3]\n'
        b'std = [1, 1, 2]\n[[postprocess]]\nop = "softmax"\n[[postprocess]]\nop = "argmax"\nthreshold = 0.5\n',
    )
    yield Seed("pmml", "tree", _PMML)


_PMML = (
    b'<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><DataDictionary><DataField name="a" optype="continuous" dataType="double"/>'
    b'<DataField name="c" optype="categorical" dataType="string"><Value value="u"/><Value value="v"/></DataField></DataDictionary>'
    b'<TreeModel functionName="classification" splitCharacteristic="binarySplit"><MiningSchema><MiningField name="a"/>'
    b'<MiningField name="c" usageType="target"/></MiningSchema><Node score="u"><True/><Node score="u"><SimplePredicate field="a" '
    b'operator="lessOrEqual" value="0.5"/></Node><Node score="v"><SimplePredicate field="a" operator="greaterThan" value="0.5"/></Node>'
    b"</Node></TreeModel></PMML>"
)
