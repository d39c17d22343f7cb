"""In a few words, which forms of an operator are written for TensorFlow Lite, where not all are. ``docs/operators.md`` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_RECURRENT = "fixed length of at most 128 steps, written out step by step; usual activations, constant weights"

FORMS: Mapping[str, str] = MappingProxyType(
    {
        "ArgMax": "the first of equal ones",
        "ArgMin": "the first of equal ones",
        "AveragePool": "over one axis or two; no dilations",
        "BatchNormalization": "folded into the layer before, else a product and a sum",
        "Conv": "over one axis or two; constant weights; any groups",
        "ConvTranspose": "over one axis or two; constant weights, one group, no dilations",
        "Div": "by a constant: a product, in integers",
        "Dropout": "as identity",
        "Elu": "alpha 1",
        "Erf": "right to 5e-7; inside a spelled-out Gelu exact, and in integers",
        "Expand": "fixed shape",
        "GRU": _RECURRENT,
        "Gather": "constant indices, or a constant table of which rows are looked up (no negative indices then)",
        "Gemm": "constant weights; any other as products and sums",
        "HardSigmoid": "a product, a rectifier and a product; times its input: one HARD_SWISH",
        "InstanceNormalization": "constant scale and bias",
        "LSTM": _RECURRENT + "; no peepholes",
        "LayerNormalization": "constant scale and bias; one output",
        "MatMul": "a constant matrix on either side, or two tensors of at least two dimensions",
        "MaxPool": "over one axis or two; no indices, no dilations",
        "Mish": "as its definition, in float",
        "PRelu": "constant slopes",
        "Pad": "constant, reflect and edge; nothing cut off",
        "Pow": "2 and 3: products, in integers; 0.5: a root",
        "RNN": _RECURRENT,
        "ReduceL2": "keeping its dimensions",
        "Reshape": "fixed shape",
        "Resize": "last two of four; nearest: all coordinates but tf_crop_and_resize; linear: half_pixel, align_corners, asymmetric",
        "Shape": "of a fixed shape: a constant",
        "Slice": "constant bounds",
        "Split": "every part named",
        "Tile": "fixed shape",
        "Upsample": "raised to Resize",
        "Where": "float32, whole numbers, bool",
    }
)
