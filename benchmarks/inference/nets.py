"""The networks that every server serves, made here from seeds: a sensor's, a camera's, and one that is all weights.

Named input ``x`` and output ``y``, float32, fixed shapes. Another ``seed`` gives another version with other answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.inference.layers import Layers, convolutions, dense, growing, looping

IR_VERSION = 8
OPSET = 17
BIG_WIDTHS = (1024, 5120, 1024, 10)


def sense_layers(draw: np.random.Generator) -> Layers:
    """A network for 128 samples of three axes."""
    return convolutions((3, 16, 24), 5, 1, 5, draw)


@dataclass(frozen=True, slots=True)
class Net:
    """One network. ``size`` is its input's shape."""

    name: str
    size: tuple[int, ...]
    classes: int
    make: Callable[[np.random.Generator], Layers]

    @property
    def input_bytes(self) -> int:
        return prod(self.size) * 4

    def sample(self, seed: int = 0) -> Any:
        """An input of standard normal numbers."""
        return np.random.default_rng(seed).standard_normal(self.size).astype(np.float32)

    def save(self, path: Path, seed: int = 0, *, external: bool = False) -> Path:
        """Write the network to ``path``; with ``external`` its weights lie beside it in a file of their own, ready to be mapped."""
        nodes, constants = self.make(np.random.default_rng(seed))
        nodes[-1].output[0] = "y"
        graph = helper.make_graph(nodes, self.name, [_tensor("x", self.size)], [_tensor("y", (1, self.classes))], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        where = f"{path.stem}.weights"
        (path.parent / where).unlink(missing_ok=True)
        onnx.save_model(model, str(path), save_as_external_data=external, location=where, size_threshold=1024)
        return path


def _tensor(name: str, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


NETS: Mapping[str, Net] = MappingProxyType(
    {
        "sense": Net("sense", (1, 3, 128), 5, sense_layers),
        "img": Net("img", (1, 3, 96, 96), 10, lambda draw: convolutions((3, 40, 80, 160, 160), 3, 2, 10, draw)),
        "big": Net("big", (1, BIG_WIDTHS[0]), BIG_WIDTHS[-1], lambda draw: dense([], [], "x", BIG_WIDTHS, draw)),
        "slow": Net("slow", (1, 3, 64, 64), 5, lambda draw: convolutions((3, 256, 384, 256), 3, 2, 5, draw)),
        "growing": Net("growing", (1, 3, 128), 5, lambda draw: growing(*sense_layers(draw))),
        "looping": Net("looping", (1, 3, 128), 5, lambda draw: looping(*sense_layers(draw))),
    }
)
"""``sense``: about 15 us on one core, 1.5 kB in. ``img``: under 1 ms, 110 kB in. ``big``: 42 MB of weights. ``slow``: several ms.

``growing`` and ``looping`` answer as ``sense`` does until a value of x exceeds 1000: then they ask for memory, or for time, without bounds.
"""


def bare_session(path: Path, *, defaults: bool = False) -> Any:
    """ONNX Runtime alone: one thread and no spinning as every server here is told to, or with ``defaults`` as it comes."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not defaults:
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
