"""Small float ONNX networks made in code, one idea each, for the converter's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from converters.model import Graph, graph_of

IMAGE = (1, 3, 8, 8)


class Net:
    """Builds a graph node by node; every method returns the name of the tensor it made."""

    def __init__(self, shape: tuple[int | str, ...] = IMAGE, seed: int = 3) -> None:
        self.random = np.random.default_rng(seed)
        self._shape = shape
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def constant(self, array: Any, dtype: str = "float32") -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = np.asarray(array, dtype)
        return name

    def weights(self, *shape: int) -> str:
        fan = int(np.prod(shape[1:])) or 1
        return self.constant(self.random.normal(0, 1 / np.sqrt(fan), shape))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=f"n_{name}", **attributes))
        return name

    def nodes(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node of several ``outputs``."""
        names = [f"t{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, name=f"n_{names[0]}", **attributes))
        return names

    def split(self, x: str, *, axis: int, parts: int = 0, sizes: Sequence[int] = ()) -> list[str]:
        """``parts`` equal pieces, or pieces of these ``sizes``."""
        inputs = [x, self.constant(sizes, "int64")] if sizes else [x]
        return self.nodes("Split", parts or len(sizes), *inputs, axis=axis)

    def conv(self, x: str, outputs: int, inputs: int, kernel: int = 3, *, group: int = 1, bias: bool = True, **attributes: Any) -> str:
        weights = [self.weights(outputs, inputs // group, kernel, kernel)]
        if bias:
            weights.append(self.constant(self.random.normal(0, 0.1, outputs)))
        return self.node("Conv", x, *weights, group=group, **attributes)

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        return self.node("Gemm", x, self.weights(outputs, inputs), self.constant(self.random.normal(0, 0.1, outputs)), transB=1)

    def head(self, x: str, inputs: int) -> str:
        """Flatten and a dense layer of five classes."""
        return self.dense(self.node("Flatten", x), inputs, 5)

    def proto(self, output: str, opset: int = 17) -> Any:
        body = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self._shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        import onnx

        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, data_prop=True)

    def graph(self, output: str, opset: int = 17) -> Graph:
        return graph_of(self.proto(output, opset))

    def write(self, output: str, path: Path) -> Path:
        path.write_bytes(self.proto(output).SerializeToString())
        return path


def conv_pads(n: Net, **attributes: Any) -> str:
    return n.node("Relu", n.conv("x", 6, 3, **attributes))


def _residual(n: Net) -> str:
    first = n.node("Relu", n.conv("x", 4, 3, pads=[1, 1, 1, 1]))
    second = n.conv(first, 4, 4, pads=[1, 1, 1, 1])
    return n.head(n.node("Relu", n.node("Add", second, first)), 4 * 64)


def _depthwise(n: Net) -> str:
    wide = n.node("Clip", n.conv("x", 8, 3, pads=[1, 1, 1, 1]), n.constant(0.0), n.constant(6.0))
    deep = n.node("Clip", n.conv(wide, 16, 8, group=8, pads=[1, 1, 1, 1]), n.constant(0.0), n.constant(6.0))
    return n.head(n.node("GlobalAveragePool", n.conv(deep, 8, 16, kernel=1)), 8)


def _plain(n: Net) -> str:
    return n.head(n.node("MaxPool", conv_pads(n, pads=[1, 1, 1, 1]), kernel_shape=[2, 2], strides=[2, 2]), 6 * 16)


def _branches(n: Net) -> str:
    left = n.node("Relu", n.conv("x", 4, 3, pads=[1, 1, 1, 1]))
    right = n.node("Sigmoid", n.conv("x", 2, 3, kernel=1))
    return n.head(n.node("Concat", left, right, axis=1), 6 * 64)


def _channels_last(n: Net) -> str:
    """As exporters write a TensorFlow network: the image comes channels-last and is turned first."""
    turned = n.node("Transpose", "x", perm=[0, 3, 1, 2])
    return n.head(n.node("Relu", n.conv(turned, 4, 3, strides=[2, 2], auto_pad="SAME_UPPER")), 4 * 16)


def _mean(n: Net) -> str:
    return n.dense(n.node("ReduceMean", conv_pads(n), axes=[2, 3], keepdims=0), 6, 5)


def _scaled(n: Net) -> str:
    """A constant by channel on either side of a rectifier, which cannot be folded into weights."""
    x = n.node("Mul", conv_pads(n, pads=[1, 1, 1, 1]), n.constant(n.random.uniform(0.5, 1.5, (1, 6, 1, 1))))
    return n.head(n.node("Tanh", n.node("Sub", x, n.constant(0.3))), 6 * 64)


def _image_out(n: Net) -> str:
    """The output is an image: its layout must come back as it was."""
    return n.conv(conv_pads(n, pads=[1, 1, 1, 1]), 3, 6, pads=[1, 1, 1, 1])


def _softmax(n: Net) -> str:
    return n.node("Softmax", _plain(n), axis=-1)


NETS: Mapping[str, tuple[Callable[[Net], str], tuple[int, ...]]] = {
    "plain": (_plain, IMAGE),
    "residual": (_residual, IMAGE),
    "depthwise": (_depthwise, IMAGE),
    "branches": (_branches, IMAGE),
    "channels last": (_channels_last, (1, 8, 8, 3)),
    "mean": (_mean, IMAGE),
    "scaled": (_scaled, IMAGE),
    "image out": (_image_out, IMAGE),
    "softmax": (_softmax, IMAGE),
    "no padding": (lambda n: n.head(conv_pads(n), 6 * 36), IMAGE),
    "uneven padding": (lambda n: n.head(conv_pads(n, pads=[2, 0, 1, 1]), 6 * 63), IMAGE),
    "stride": (lambda n: n.head(conv_pads(n, pads=[1, 1, 1, 1], strides=[2, 2]), 6 * 16), IMAGE),
    "dilation": (lambda n: n.head(conv_pads(n, pads=[2, 2, 2, 2], dilations=[2, 2]), 6 * 64), IMAGE),
    "no bias": (lambda n: n.head(conv_pads(n, bias=False), 6 * 36), IMAGE),
    "padded max": (lambda n: n.head(n.node("MaxPool", conv_pads(n), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 54), IMAGE),
    "average": (lambda n: n.head(n.node("AveragePool", conv_pads(n), kernel_shape=[2, 2], strides=[2, 2]), 6 * 9), IMAGE),
    "leaky": (lambda n: n.head(n.node("LeakyRelu", n.conv("x", 6, 3), alpha=0.1), 6 * 36), IMAGE),
    "dense": (lambda n: n.dense(n.node("Relu", n.dense("x", 12, 16)), 16, 5), (1, 12)),
    "reshaped": (lambda n: n.dense(n.node("Reshape", conv_pads(n), n.constant([1, -1], "int64")), 6 * 36, 5), IMAGE),
}
"""Output-building function and input shape by name."""


def make(name: str) -> tuple[Graph, tuple[int, ...]]:
    """The graph called ``name`` and the shape it takes."""
    build, shape = NETS[name]
    net = Net(shape)
    return net.graph(build(net)), shape


def feeds(shape: tuple[int, ...], count: int = 24, seed: int = 5) -> list[dict[str, Any]]:
    """Random inputs of a normal distribution."""
    random = np.random.default_rng(seed)
    return [{"x": random.normal(0, 1, shape).astype(np.float32)} for _ in range(count)]
