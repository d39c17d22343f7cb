"""Channels that are dead but for their bias, as folding a normalization leaves them, keep it in integers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted import calibrated, noise_db, run
from tiny_nets import IMAGE, Net

from converters.targets.onnx_float import emit_onnx_float
from converters.targets.onnx_qdq import emit_onnx_int8
from converters.targets.tflite_int8 import emit_tflite_int8


@pytest.mark.parametrize("tiny", [0.0, 1e-12])
@pytest.mark.parametrize(("emit", "name"), [(emit_onnx_int8, "m.onnx"), (emit_tflite_int8, "m.tflite")])
def test_a_dead_channel_keeps_its_bias(emit: Callable[..., bytes], name: str, tiny: float, tmp_path: Path) -> None:
    n = Net()
    weight: Any = n.random.normal(0, 0.2, (4, 3, 3, 3))
    weight[1] *= tiny
    conv = n.node("Conv", "x", n.constant(weight), n.constant([0.1, 3.0, -0.2, 0.0]), pads=[1, 1, 1, 1])
    graph = n.graph(n.node("Relu", conv))
    reference = run(emit_onnx_float(graph), "float.onnx", graph, IMAGE, tmp_path)
    assert np.allclose(reference[:, :, 1], 3.0)
    made = run(emit(graph, calibrated(graph, IMAGE, tmp_path).ranges), name, graph, IMAGE, tmp_path)
    assert np.allclose(made[:, :, 1], 3.0, atol=0.05)
    assert noise_db(reference, made) > 35
