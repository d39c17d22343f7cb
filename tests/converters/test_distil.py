"""Distillation: a student that lost its way learns to answer as its teacher; PyTorch's reading of a network is checked before it learns."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks.nets import digits
from converters.distil.distil import Lesson, distil, taught
from converters.errors import InputError
from converters.model import Graph, graph_of, to_bytes
from converters.tools.environments import TOOLS, find
from edge_agent.runtimes.choose import load_model_file

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
PYTORCH = find(TOOLS["pytorch"])
needs_pytorch = pytest.mark.skipif(PYTORCH is None, reason="tool environment pytorch is not made (edge-convert tools add pytorch)")
pytestmark = pytest.mark.timeout(600)  # importing a framework on a busy machine
SHORT = Lesson(epochs=6, classes=True)


def silent(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def teacher() -> Graph:
    return graph_of(onnx.load(str(digits.model("plain"))))


def shaken(graph: Graph) -> Graph:
    """A network of the same form whose weights have been disturbed."""
    draw = np.random.default_rng(5)
    constants = {
        name: (array + 0.9 * array.std() * draw.standard_normal(array.shape)).astype(array.dtype)
        if array.dtype == np.float32 and array.size > 1
        else array
        for name, array in graph.constants.items()
    }
    return replace(graph, constants=constants)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    images, labels, _, _ = digits.images("plain")
    np.savez(tmp_path / "samples.npz", image=images[:400], labels=labels[:400])
    np.savez(tmp_path / "unlabelled.npz", image=images[:400])
    return tmp_path / "samples.npz"


def share_right(graph: Graph, folder: Path) -> float:
    """Of the test images, which nothing has learned from."""
    _, _, images, labels = digits.images("plain")
    path = folder / "measured.onnx"
    path.write_bytes(to_bytes(graph))
    runtime = load_model_file(path, threads=1)
    said = [int(np.argmax(next(iter(runtime.run({"image": image[None]}).values())))) for image in images]
    return float(np.mean(np.array(said) == labels))


@needs_pytorch
def test_a_student_answers_better_than_before_without_labels(teacher: Graph, samples: Path, tmp_path: Path) -> None:
    student = shaken(teacher)
    told: list[str] = []
    folder = tmp_path / "work"
    folder.mkdir()
    made = taught(student, teacher, samples.with_name("unlabelled.npz"), SHORT, folder=folder, tell=told.append)
    before, after = share_right(student, tmp_path), share_right(made.graph, tmp_path)
    assert after > before + 0.02 and made.after < made.before
    assert "distilled by PyTorch" in made.note and any("round 1 of" in text for text in told)
    assert [node.op_type for node in made.graph.nodes] == [node.op_type for node in student.nodes]


@needs_pytorch
def test_the_same_seed_gives_the_same_weights(teacher: Graph, samples: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        lesson = Lesson(epochs=1, alpha=0.3)
        made.append(to_bytes(taught(shaken(teacher), teacher, samples, lesson, folder=tmp_path / name, tell=silent).graph))
    assert made[0] == made[1]


@needs_pytorch
def test_a_student_that_is_its_teacher_is_left_as_it_was(teacher: Graph, samples: Path, tmp_path: Path) -> None:
    made = taught(teacher, teacher, samples, Lesson(epochs=1), folder=tmp_path, tell=silent)
    assert made.graph is teacher and "gained nothing" in made.note


OPERATORS: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
    ("Conv", ["kernel"], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", ["kernel", "bias"], {"pads": [0, 1, 2, 1], "dilations": [1, 2]}),
    ("ConvTranspose", ["back"], {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 0, 0], "strides": [2, 2]}),
    ("AveragePool", [], {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER", "strides": [3, 3]}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("MaxPool", [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "strides": [2, 2]}),
    ("BatchNormalization", ["scale", "shift", "mean", "variance"], {"epsilon": 1e-3}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Pad", ["around"], {}),
    ("Slice", ["starts", "ends", "axes"], {}),
    ("Reshape", ["shape"], {}),
    ("Clip", ["low", "high"], {}),
    ("Clip", ["low"], {}),
    ("PRelu", ["slope"], {}),
    ("LeakyRelu", [], {"alpha": 0.2}),
    ("HardSigmoid", [], {}),
    *((name, [], {}) for name in ("Relu", "HardSwish", "Sigmoid", "Tanh", "Elu", "Softplus", "Erf", "Abs", "GlobalMaxPool", "Softmax")),
)


def constants() -> dict[str, Any]:
    draw = np.random.default_rng(1)
    return {
        "kernel": draw.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "bias": draw.standard_normal(4).astype(np.float32),
        "back": draw.standard_normal((3, 2, 3, 3)).astype(np.float32),
        "scale": draw.random(3).astype(np.float32) + 0.5,
        "shift": draw.standard_normal(3).astype(np.float32),
        "mean": draw.standard_normal(3).astype(np.float32),
        "variance": draw.random(3).astype(np.float32) + 0.5,
        "slope": draw.random((3, 1, 1)).astype(np.float32),
        "around": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
        "starts": np.array([1, -5]),
        "ends": np.array([3, 1000]),
        "axes": np.array([1, 3]),
        "shape": np.array([1, -1, 4, 2]),
        "low": np.float32(-0.5),
        "high": np.float32(0.7),
        "places": np.array([1, 2, 3]),
    }


def every(operators: tuple[tuple[str, list[str], dict[str, Any]], ...]) -> Graph:
    """Each operator on the same image of three channels; the means of what they make, side by side, are the output."""
    nodes = []
    for i, (operator, inputs, attributes) in enumerate(operators):
        nodes.append(helper.make_node(operator, ["x", *inputs], [f"made{i}"], **attributes))
        nodes.append(helper.make_node("ReduceMean", [f"made{i}", "places"], [f"mean{i}"], keepdims=0))
        nodes.append(helper.make_node("Unsqueeze", [f"mean{i}", "last"], [f"wide{i}"]))
    nodes.append(helper.make_node("Concat", [f"wide{i}" for i in range(len(operators))], ["y"], axis=1))
    held = {**constants(), "last": np.array([1])}
    used = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items() if name in used]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 7, 8])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, len(operators)])
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    return graph_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    np.savez(tmp_path / "noise.npz", x=np.random.default_rng(2).standard_normal((40, 3, 7, 8)).astype(np.float32))
    return tmp_path / "noise.npz"


@needs_pytorch
def test_operators_are_understood_as_onnx_runtime_does(noise: Path, tmp_path: Path) -> None:
    graph = every(OPERATORS)
    made = taught(shaken(graph), graph, noise, Lesson(epochs=2), folder=tmp_path, tell=silent)
    assert made.rounds == 2 and made.after < made.before
    fixed = ("low", "high", "mean", "variance")
    assert all(np.array_equal(made.graph.constants[name], shaken(graph).constants[name]) for name in fixed)


@needs_pytorch
def test_an_operator_that_cannot_be_trained_is_named(noise: Path, tmp_path: Path) -> None:
    graph = every((("Hardmax", [], {}),))
    with pytest.raises(InputError, match="cannot be trained here: Hardmax"):
        taught(graph, graph, noise, Lesson(epochs=1), folder=tmp_path, tell=silent)


def test_what_does_not_fit_is_refused_before_anything_is_started(
    teacher: Graph, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_CONVERT_TOOLS", str(tmp_path / "none"))
    with pytest.raises(InputError, match="temperature is 0"):
        distil(teacher, teacher, samples, temperature=0, folder=tmp_path, tell=silent)
    with pytest.raises(InputError, match="alpha is 2"):
        distil(teacher, teacher, samples, alpha=2, folder=tmp_path, tell=silent)
    other = replace(teacher, inputs=tuple(replace(spec, name="other") for spec in teacher.inputs))
    with pytest.raises(InputError, match="do not take the same inputs"):
        distil(other, teacher, samples, folder=tmp_path, tell=silent)
    with pytest.raises(InputError, match="needs the tool environment pytorch"):
        distil(teacher, teacher, samples, folder=tmp_path, tell=silent)
