"""Small networks made in code, one of each kind that people convert besides image classifiers: weights drawn by a seed, nothing trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


@dataclass(slots=True, eq=False)
class _Net:
    """A graph that grows node by node."""

    draw: Any
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def constant(self, array: Any, dtype: str = "float32") -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def weights(self, *shape: int) -> str:
        """He's initialization: a signal keeps its size through rectified layers."""
        return self.constant(self.draw.normal(0, math.sqrt(2 / max(math.prod(shape[1:]), 1)), shape))

    def node(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **options: Any) -> str:
        """The first of its outputs; the others have the same name with their number behind."""
        name = f"t{len(self.nodes)}"
        names = [name, *(f"{name}_{at}" for at in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **options))
        return name

    def conv(self, x: str, outputs: int, inputs: int, kernel: Sequence[int], *, group: int = 1, **options: Any) -> str:
        bias = self.constant(self.draw.normal(0, 0.1, outputs))
        return self.node("Conv", x, self.weights(outputs, inputs // group, *kernel), bias, group=group, **options)

    def dense(self, x: str, outputs: int, inputs: int) -> str:
        return self.node("Gemm", x, self.weights(outputs, inputs), self.constant(self.draw.normal(0, 0.1, outputs)), transB=1)


def _conv1d(n: _Net) -> str:
    x = n.node("Relu", n.conv("x", 32, 3, [5], pads=[2, 2]))
    x = n.node("MaxPool", x, kernel_shape=[2], strides=[2])
    x = n.node("Relu", n.conv(x, 48, 32, [3], pads=[1, 1]))
    return n.dense(n.node("Flatten", n.node("GlobalAveragePool", x)), 6, 48)


def _recurrent(n: _Net, op: str, gates: int) -> str:
    parts = [n.weights(1, gates * 24, 6), n.weights(1, gates * 24, 24), n.constant(n.draw.normal(0, 0.2, (1, gates * 48)))]
    n.node(op, "x", *parts, outputs=2, hidden_size=24)
    last = n.node("Squeeze", f"t{len(n.nodes) - 1}_1", n.constant([0], "int64"))
    return n.dense(last, 5, 24)


def _mlp(n: _Net) -> str:
    x = n.node("Relu", n.dense("x", 64, 20))
    return n.dense(n.node("Relu", n.dense(x, 64, 64)), 7, 64)


def _autoencoder(n: _Net) -> str:
    x = "x"
    for outputs, inputs in ((64, 48), (8, 64), (64, 8)):
        x = n.node("Relu", n.dense(x, outputs, inputs))
    return n.dense(x, 48, 64)


def _squeeze_excite(n: _Net) -> str:
    x = n.node("HardSwish", n.conv("x", 24, 3, [3, 3], pads=[1, 1, 1, 1], strides=[2, 2]))
    x = n.node("HardSwish", n.conv(x, 24, 24, [3, 3], group=24, pads=[1, 1, 1, 1]))
    small = n.node("Relu", n.conv(n.node("GlobalAveragePool", x), 8, 24, [1, 1]))
    gate = n.node("HardSigmoid", n.conv(small, 24, 8, [1, 1]), alpha=1 / 6, beta=0.5)
    x = n.conv(n.node("Mul", x, gate), 16, 24, [1, 1])
    return n.dense(n.node("Flatten", n.node("GlobalAveragePool", x)), 10, 16)


def _residual(n: _Net) -> str:
    first = n.node("Relu", n.conv("x", 16, 3, [3, 3], pads=[1, 1, 1, 1]))
    second = n.node("Relu", n.conv(first, 16, 16, [3, 3], pads=[1, 1, 1, 1]))
    x = n.node("Relu", n.node("Add", n.conv(second, 16, 16, [3, 3], pads=[1, 1, 1, 1]), first))
    return n.dense(n.node("Flatten", n.node("AveragePool", x, kernel_shape=[4, 4], strides=[4, 4])), 10, 256)


def _linear(n: _Net) -> str:
    x = n.node("Scaler", "x", domain="ai.onnx.ml", offset=[0.1] * 8, scale=[0.5] * 8)
    numbers = {"coefficients": n.draw.normal(0, 1, 24).tolist(), "intercepts": [0.1, -0.2, 0.3], "classlabels_ints": [0, 1, 2]}
    n.node("LinearClassifier", x, domain="ai.onnx.ml", outputs=2, multi_class=0, post_transform="SOFTMAX", **numbers)
    return f"t{len(n.nodes) - 1}_1"


def _trees(n: _Net, count: int, depth: int = 5) -> str:
    """Full binary trees, as scikit-learn's exporter writes them."""
    inner, leaves = 2**depth - 1, 2**depth
    size = inner + leaves
    at, trees = np.arange(size), np.repeat(np.arange(count), size)
    branch = at < inner
    values = np.where(branch, n.draw.normal(0, 1, (count, size)), 0.0)
    nodes = {
        "nodes_treeids": trees.tolist(),
        "nodes_nodeids": np.tile(at, count).tolist(),
        "nodes_featureids": n.draw.integers(0, 8, size * count).tolist(),
        "nodes_values": values.ravel().astype(np.float32).tolist(),
        "nodes_modes": ["BRANCH_LEQ" if b else "LEAF" for b in np.tile(branch, count)],
        "nodes_truenodeids": np.tile(np.where(branch, 2 * at + 1, 0), count).tolist(),
        "nodes_falsenodeids": np.tile(np.where(branch, 2 * at + 2, 0), count).tolist(),
    }
    targets = {
        "target_treeids": np.repeat(np.arange(count), leaves).tolist(),
        "target_nodeids": np.tile(at[inner:], count).tolist(),
        "target_ids": [0] * (count * leaves),
        "target_weights": (n.draw.normal(0, 1, count * leaves) / count).astype(np.float32).tolist(),
    }
    return n.node("TreeEnsembleRegressor", "x", domain="ai.onnx.ml", n_targets=1, **nodes, **targets)


KINDS: Mapping[str, tuple[Callable[[_Net], str], tuple[int, ...]]] = MappingProxyType(
    {
        "conv1d": (_conv1d, (1, 3, 64)),
        "lstm": (lambda n: _recurrent(n, "LSTM", 4), (12, 1, 6)),
        "gru": (lambda n: _recurrent(n, "GRU", 3), (12, 1, 6)),
        "mlp": (_mlp, (1, 20)),
        "autoencoder": (_autoencoder, (1, 48)),
        "squeeze-excite": (_squeeze_excite, (1, 3, 24, 24)),
        "residual": (_residual, (1, 3, 16, 16)),
        "linear": (_linear, (1, 8)),
        "tree": (lambda n: _trees(n, 1), (1, 8)),
        "forest": (lambda n: _trees(n, 20), (1, 8)),
    }
)
"""What builds each, and the shape of its input ``x``."""


def built(kind: str) -> bytes:
    """The ONNX file of one of :data:`KINDS`: input ``x``, one float32 output."""
    build, shape = KINDS[kind]
    net = _Net(np.random.default_rng(11))
    output = build(net)
    body = helper.make_graph(
        net.nodes,
        kind,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in net.constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.shape_inference.infer_shapes(helper.make_model(body, opset_imports=opsets, ir_version=8))
    return bytes(model.SerializeToString(deterministic=True))
