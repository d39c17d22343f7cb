"""An inference that never ends is ended from another thread, and the model goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from models import tiny_onnx, tiny_tflite

from edge_agent.errors import ModelError
from edge_agent.runtimes.choose import load_model_file

FOREVER, ONCE = np.ones(1, np.float32), -np.ones(1, np.float32)


def endless_onnx(path: Path) -> Path:
    """``y = x`` for x <= 0; for x > 0 a loop whose condition stays true."""
    from onnx import TensorProto, helper, save

    def tensor(name: str, kind: int, shape: list[int]) -> object:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["a", "one"], ["sum"])],
        "body",
        [tensor("i", TensorProto.INT64, []), tensor("go", TensorProto.BOOL, []), tensor("a", TensorProto.FLOAT, [1])],
        [tensor("go_on", TensorProto.BOOL, []), tensor("sum", TensorProto.FLOAT, [1])],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["above"]),
        helper.make_node("Squeeze", ["above"], ["start"]),
        helper.make_node("Loop", ["", "start", "x"], ["y"], body=body),
    ]
    inputs, outputs = [tensor("x", TensorProto.FLOAT, [1])], [tensor("y", TensorProto.FLOAT, [1])]
    graph = helper.make_graph(nodes, "endless", inputs, outputs, [helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def stopped(infer: Callable[[], object], stop: Callable[[], bool]) -> str:
    """What ``infer``, which never ends by itself, says when ``stop`` is called until it does."""
    said: list[str] = []

    def run() -> None:
        try:
            infer()
        except ModelError as error:
            said.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    for _ in range(600):  # a stop before the inference began is aimed at nothing, hence again
        assert stop()
        thread.join(0.05)
        if not thread.is_alive():
            return said[0]
    raise AssertionError("it was not stopped within 30 s")


def test_a_run_is_stopped_and_the_next_one_answers(tmp_path: Path) -> None:
    runtime = load_model_file(endless_onnx(tmp_path / "m.onnx"))
    for _ in range(3):
        assert "was stopped" in stopped(lambda: runtime.run({"x": FOREVER}), runtime.stop)
        assert runtime.run({"x": ONCE})["y"] == -1


def test_a_bound_inference_is_stopped_and_the_next_one_answers(tmp_path: Path) -> None:
    runtime = load_model_file(endless_onnx(tmp_path / "m.onnx"))
    x, y = np.ones(1, np.float32), np.zeros(1, np.float32)
    infer = runtime.bind({"x": x}, {"y": y})
    assert infer is not None
    assert "was stopped" in stopped(infer, runtime.stop)
    x[:] = -1
    infer()
    assert y == -1


def test_stop_between_inferences_harms_none(tmp_path: Path) -> None:
    runtime = load_model_file(tiny_onnx(tmp_path / "m.onnx"))
    x = np.ones((1, 4), np.float32)
    before = runtime.run({"x": x})["y"]
    assert runtime.stop()
    assert np.array_equal(runtime.run({"x": x})["y"], before)


def test_tensorflow_lite_says_that_it_cannot(tmp_path: Path) -> None:
    assert not load_model_file(tiny_tflite(tmp_path / "m.tflite")).stop()
