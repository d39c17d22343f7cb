"""Small ONNX models whose inputs, outputs or forms are out of the ordinary, as exporters and people make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper


@dataclass(frozen=True, slots=True)
class Awkward:
    """``text`` in ONNX's own notation, ``constants`` and the shapes of one question. ``refused`` is a part of the reason where the model
    cannot be taken, ``lost`` the outputs a device cannot give."""

    text: str
    feeds: Mapping[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    opsets: str = '"" : 17'
    functions: str = ""
    ir_version: int = 8
    refused: str = ""
    lost: tuple[str, ...] = ()

    def data(self) -> bytes:
        head = f"<ir_version: {self.ir_version}, opset_import: [{self.opsets}]>"
        proto = onnx.parser.parse_model(f"{head}\n{self.text}\n{self.functions}")
        proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in self.constants.items())
        return bytes(proto.SerializeToString())

    def feed(self, seed: int) -> dict[str, Any]:
        random = np.random.default_rng(seed)
        values = {
            name: random.normal(0, 1, shape) if "float" in kind else random.integers(0, 2, shape)
            for name, (shape, kind) in self.feeds.items()
        }
        return {name: np.asarray(values[name], kind) for name, (_, kind) in self.feeds.items()}


_W = np.random.default_rng(8).normal(0, 1, (8, 4)).astype(np.float32)
_Q = np.random.default_rng(9).integers(-127, 127, (8, 4)).astype(np.int8)
_LOOP = "body (int64 i, bool going, float[3] acc) => (bool on, float[3] sum) { sum = Add(acc, x) on = Identity(going) }"
_EITHER = "t () => (float[A,B] a) { a = Mul(x, x) }"

AWKWARD: Mapping[str, Awkward] = MappingProxyType(
    {
        "two free sizes": Awkward(
            "g (float[N,T,8] x) => (float[N,4] y) { a = MatMul(x, W) y = ReduceMax <axes=[1], keepdims=0> (a) }",
            {"x": ((1, 5, 8), "float32")},
            {"W": _W},
        ),
        "numbers of every kind": Awkward(
            "g (float[N,6] x, int64[N,6] ids, bool[N,6] mask) => (float[N] sum, int64[N] best) { f = Cast <to=1> (ids) "
            "w = Where(mask, x, f) "
            "sum = ReduceSum <keepdims=0> (w, axis) best = ArgMax <axis=1, keepdims=0> (w) }",
            {"x": ((1, 6), "float32"), "ids": ((1, 6), "int64"), "mask": ((1, 6), "bool")},
            {"axis": np.array([1])},
        ),
        "branches of two shapes": Awkward(
            f"g (float[N,3] x) => (float[A,B] y) {{ s = ReduceSum <keepdims=0> (x) c = Greater(s, zero) "
            f"y = If (c) <then_branch = {_EITHER}, else_branch = e () => (float[A,B] b) {{ b = ReduceMean <keepdims=1> (x) }}> }}",
            {"x": ((1, 3), "float32")},
            {"zero": np.float32(0)},
        ),
        "a loop": Awkward(
            f"g (float[3] x, int64 n) => (float[3] y) {{ y = Loop (n, , start) <body = {_LOOP}> }}",
            {"x": ((3,), "float32"), "n": ((), "int64")},
            {"start": np.zeros(3, np.float32)},
        ),
        "half floats": Awkward(
            "g (float16[1,8] x) => (float16[1,4] y) { y = MatMul(x, W) }", {"x": ((1, 8), "float16")}, {"W": _W.astype(np.float16)}
        ),
        "double floats": Awkward(
            "g (double[N,8] x) => (double[N,4] y) { y = MatMul(x, W) }", {"x": ((1, 8), "float64")}, {"W": _W.astype(float)}
        ),
        "quantized": Awkward(
            "g (float[N,8] x) => (float[N,4] y) { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(W, s) "
            "m = MatMul(d, w) y = Identity(m) }",
            {"x": ((1, 8), "float32")},
            {"W": _Q, "s": np.float32(0.02), "z": np.uint8(128)},
        ),
        "words come out": Awkward(
            "g (float[N,3] p) => (string[N] label) { k = ArgMax <axis=1, keepdims=0> (p) "
            "label = ai.onnx.ml.LabelEncoder <keys_int64s=[0, 1, 2], "
            'values_strings=["a", "b", "c"]> (k) }',
            opsets='"" : 17, "ai.onnx.ml" : 3',
            refused="only tensors of numbers, and its outputs are label",
        ),
        "words beside numbers": Awkward(
            "g (float[N,3] p) => (string[N] label, float[N,3] q) { k = ArgMax <axis=1, keepdims=0> (p) q = Softmax <axis=1> (p) "
            'label = ai.onnx.ml.LabelEncoder <keys_int64s=[0, 1, 2], values_strings=["a", "b", "c"]> (k) }',
            {"p": ((1, 3), "float32")},
            opsets='"" : 17, "ai.onnx.ml" : 3',
            lost=("label",),
        ),
        "words go in": Awkward("g (string[N] s) => (int64[N] y) { y = Shape(s) }", refused="input s is string; a device can feed float32"),
        "a sequence comes out": Awkward(
            "g (float[N,2] x) => (seq(float[N]) s) { s = SplitToSequence <axis=0> (x) }", refused="its outputs are s (sequence)"
        ),
        "dictionaries come out": Awkward(
            "g (float[N,3] p) => (seq(map(int64, float)) q) { s = Softmax <axis=1> (p) "
            "q = ai.onnx.ml.ZipMap <classlabels_int64s=[0, 1, 2]> (s) }",
            {"p": ((1, 3), "float32")},
            opsets='"" : 17, "ai.onnx.ml" : 3',
        ),
        "ids of free length": Awkward(
            "g (int64[N,L] ids) => (float[N,4] y) { e = Gather(E, ids) y = ReduceMean <axes=[1], keepdims=0> (e) }",
            {"ids": ((1, 7), "int64")},
            {"E": _W},
        ),
        "a number without dimensions": Awkward(
            "g (float[N] x, float gain) => (float[N] y) { y = Mul(x, gain) }", {"x": ((1,), "float32"), "gain": ((), "float32")}
        ),
        "an input with a default": Awkward(
            "g (float[N] x, float[1] gain) => (float[N] y) { y = Mul(x, gain) }",
            {"x": ((1,), "float32")},
            {"gain": np.array([3], np.float32)},
        ),
        "state in and out": Awkward(
            "g (float[T,1,3] x, float[1,1,4] h, float[1,1,4] c) => (float[T,1,1,4] y, float[1,1,4] hn, float[1,1,4] cn) "
            "{ y, hn, cn = LSTM <hidden_size=4> (x, W, R, , , h, c) }",
            {"x": ((1, 1, 3), "float32"), "h": ((1, 1, 4), "float32"), "c": ((1, 1, 4), "float32")},
            {"W": np.ones((1, 16, 3), np.float32) / 4, "R": np.ones((1, 16, 4), np.float32) / 9},
        ),
        "a function inside": Awkward(
            "g (float[N] x) => (float[N] y) { y = own.Twice(x) }",
            {"x": ((1,), "float32")},
            opsets='"" : 17, "own" : 1',
            functions='<domain: "own", opset_import: ["" : 17]> Twice (a) => (b) { b = Add(a, a) }',
        ),
        "an operator of someone's own": Awkward("g (float[N] x) => (float[N] y) { y = own.Fancy(x) }", opsets='"" : 17, "own" : 1'),
        "many dimensions": Awkward(
            "g (float[1,2,1,2,1,2,3] x) => (float y) { y = ReduceSum <keepdims=0> (x) }", {"x": ((1, 2, 1, 2, 1, 2, 3), "float32")}
        ),
        "an old operator set": Awkward(
            "g (float[1,8] x) => (float[1,4] y) { u = Unsqueeze <axes=[2]> (x) s = Squeeze <axes=[2]> (u) y = MatMul(s, W) }",
            {"x": ((1, 8), "float32")},
            {"W": _W},
            '"" : 9',
            ir_version=4,
        ),
        "too old an operator set": Awkward("g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }", opsets='"" : 7', refused="operator set 7"),
        "the newest operator set": Awkward(
            "g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }", {"x": ((1, 8), "float32")}, opsets='"" : 21', ir_version=10
        ),
        "one operator set twice": Awkward(
            "g (float[N] x) => (float[N] y) { y = Relu(x) }", {"x": ((1,), "float32")}, opsets='"" : 17, "ai.onnx" : 17'
        ),
        "an unknown operator set": Awkward(
            "g (float[N] x) => (float[N] y) { y = Relu(x) }", opsets='"" : 99', refused="uses operator set 99"
        ),
        "no shape of an input": Awkward("g (float[] x) => (float[] y) { y = Relu(x) }", refused="input x has no shape"),
        "no shape of an output": Awkward("g (float[N,8] x) => (float[] y) { y = MatMul(x, W) }", {"x": ((1, 8), "float32")}, {"W": _W}),
    }
)
"""By what is awkward."""
