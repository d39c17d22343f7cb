"""What can be written: every ONNX operator with the function that writes it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from converters.targets.tflite_ops import (
    arithmetic,
    composed,
    convolution,
    dense,
    elementwise,
    logic,
    padding,
    pools,
    recurrent,
    reduce,
    resize,
    shape,
)
from converters.targets.tflite_ops import slicing as parts
from converters.targets.tflite_ops.lowering import Lower

LOWERINGS: Mapping[str, Lower] = MappingProxyType(
    {
        "Abs": elementwise.elementwise("ABS"),
        "Add": arithmetic.arithmetic("ADD", "AddOptions"),
        "And": logic.compare("LOGICAL_AND", "LogicalAndOptions"),
        "ArgMax": reduce.arg("ARG_MAX", "ArgMaxOptions"),
        "ArgMin": reduce.arg("ARG_MIN", "ArgMinOptions"),
        "AveragePool": pools.average_pool,
        "Cast": logic.cast,
        "Ceil": elementwise.elementwise("CEIL"),
        "Clip": elementwise.clip,
        "Concat": shape.concat,
        "Conv": convolution.conv,
        "ConvTranspose": convolution.conv_transpose,
        "Cos": elementwise.elementwise("COS"),
        "DepthToSpace": shape.depth_to_space,
        "Div": arithmetic.arithmetic("DIV", "DivOptions"),
        "Dropout": shape.identity,
        "Elu": elementwise.elu,
        "Equal": logic.compare("EQUAL", "EqualOptions"),
        "Erf": composed.erf,
        "Exp": elementwise.elementwise("EXP"),
        "Expand": shape.expand,
        "Flatten": shape.reshape,
        "Floor": elementwise.elementwise("FLOOR"),
        "Gather": parts.gather,
        "Gelu": elementwise.gelu,
        "Gemm": dense.gemm,
        "GlobalAveragePool": reduce.reduce("MEAN"),
        "GlobalMaxPool": reduce.reduce("REDUCE_MAX"),
        "Greater": logic.compare("GREATER", "GreaterOptions"),
        "GreaterOrEqual": logic.compare("GREATER_EQUAL", "GreaterEqualOptions"),
        "GRU": recurrent.recurrent,
        "HardSwish": elementwise.elementwise("HARD_SWISH"),
        "Identity": shape.identity,
        "InstanceNormalization": composed.instance_norm,
        "LayerNormalization": composed.layer_norm,
        "LeakyRelu": elementwise.leaky_relu,
        "LSTM": recurrent.recurrent,
        "Less": logic.compare("LESS", "LessOptions"),
        "LessOrEqual": logic.compare("LESS_EQUAL", "LessEqualOptions"),
        "Log": elementwise.elementwise("LOG"),
        "LogSoftmax": shape.softmax("LOG_SOFTMAX", "LogSoftmaxOptions"),
        "MatMul": dense.matmul,
        "Max": arithmetic.extreme("MAXIMUM"),
        "MaxPool": pools.max_pool,
        "Min": arithmetic.extreme("MINIMUM"),
        "Mul": arithmetic.arithmetic("MUL", "MulOptions"),
        "Neg": elementwise.elementwise("NEG"),
        "Not": logic.compare("LOGICAL_NOT", "LogicalNotOptions"),
        "Or": logic.compare("LOGICAL_OR", "LogicalOrOptions"),
        "PRelu": elementwise.prelu,
        "Pad": padding.pad,
        "Pow": arithmetic.power,
        "Reciprocal": composed.reciprocal,
        "RNN": recurrent.recurrent,
        "ReduceL2": composed.l2,
        "ReduceMax": reduce.reduce("REDUCE_MAX"),
        "ReduceMean": reduce.reduce("MEAN"),
        "ReduceMin": reduce.reduce("REDUCE_MIN"),
        "ReduceProd": reduce.reduce("REDUCE_PROD"),
        "ReduceSum": reduce.reduce("SUM"),
        "Relu": elementwise.elementwise("RELU"),
        "Reshape": shape.reshape,
        "Resize": resize.resize,
        "Round": elementwise.elementwise("ROUND"),
        "Sigmoid": elementwise.elementwise("LOGISTIC"),
        "Sign": elementwise.elementwise("SIGN"),
        "Sin": elementwise.elementwise("SIN"),
        "Slice": parts.slices,
        "Softmax": shape.softmax("SOFTMAX", "SoftmaxOptions"),
        "Softplus": composed.softplus,
        "SpaceToDepth": shape.space_to_depth,
        "Split": parts.split,
        "Sqrt": elementwise.elementwise("SQRT"),
        "Squeeze": shape.reshape,
        "Sub": arithmetic.arithmetic("SUB", "SubOptions"),
        "Sum": arithmetic.total,
        "Tanh": elementwise.elementwise("TANH"),
        "Tile": shape.tile,
        "Transpose": shape.transpose,
        "Unsqueeze": shape.reshape,
        "Where": logic.where,
    }
)

FUSING = ("Conv", "Gemm", "Add", "Sub", "Mul")
"""Operators that take a rectifier right behind them into themselves."""

FLOAT_ONLY: frozenset[str] = frozenset(
    (
        *("Cast", "Ceil", "Cos", "Div", "Equal", "Erf", "Exp", "Floor", "Greater", "GreaterOrEqual", "InstanceNormalization"),
        *("LayerNormalization", "Less", "LessOrEqual", "Log", "Neg", "Pow", "Reciprocal", "ReduceL2", "ReduceProd", "Round", "Sign", "Sin"),
        *("Softplus", "Sqrt"),
    )
)
"""Operators without an integer kernel that runtimes since 2.14 have: they are computed in float in every format."""

SAME_SCALE: tuple[str, ...] = (
    *(
        "AveragePool",
        "DepthToSpace",
        "Dropout",
        "Expand",
        "Flatten",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "Pad",
        "ReduceMax",
        "ReduceMin",
    ),
    *("Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
"""Operators whose integer kernel has one scale for input and output."""
