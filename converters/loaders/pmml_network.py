"""NeuralNetwork: layers of neurons as dense layers (DMG PMML 4.4, NeuralNetwork)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from onnx import TensorProto

from converters.loaders.pmml_expressions import expression
from converters.loaders.pmml_fields import Scope
from converters.loaders.pmml_net import Column, Net
from converters.loaders.pmml_regression import simplemax
from converters.loaders.pmml_result import Result, declared_classes, is_classification, ordered
from converters.loaders.pmml_xml import Element

_PLAIN: Mapping[str, str] = MappingProxyType(
    {
        "logistic": "Sigmoid",
        "tanh": "Tanh",
        "rectifier": "Relu",
        "exponential": "Exp",
        "reciprocal": "Reciprocal",
        "sine": "Sin",
        "cosine": "Cos",
    }
)

Place = tuple[str, int]
"""The tensor and column of a neuron's output."""


def network(model: Element, scope: Scope) -> Result:
    net = scope.net
    inputs = list(model.only("NeuralInputs").all("NeuralInput"))
    if not inputs:
        raise model.refused("has no NeuralInput")
    matrix = net.matrix([expression(element.only("DerivedField"), scope) for element in inputs])
    places: dict[str, Place] = {element.need("id"): (matrix, i) for i, element in enumerate(inputs)}
    for layer in model.all("NeuralLayer"):
        places.update(_layer(model, layer, places, net))
    return _outputs(model, places, scope)


def _layer(model: Element, layer: Element, places: Mapping[str, Place], net: Net) -> dict[str, Place]:
    neurons = list(layer.all("Neuron"))
    if not neurons:
        raise layer.refused("has no neurons")
    sources = list(dict.fromkeys(_place(con, places)[0] for neuron in neurons for con in neuron.all("Con")))
    if not sources:
        raise layer.refused("no neuron in it is connected")
    starts = dict(zip(sources, np.cumsum([0, *(net.widths[name] for name in sources)]).tolist(), strict=False))
    width = sum(net.widths[name] for name in sources)
    if width * len(neurons) > 1 << 26:
        raise layer.refused("is too large")
    weight = np.zeros((len(neurons), width))
    for row, neuron in zip(weight, neurons, strict=True):
        for con in neuron.all("Con"):
            source, index = _place(con, places)
            row[starts[source] + index] += con.number("weight")
    joined = sources[0] if len(sources) == 1 else net.node("Concat", sources, width, axis=1)
    value = net.dense(joined, weight, [neuron.number("bias", 0.0) for neuron in neurons])
    value = _activated(model, layer, value, net)
    method = layer.get("normalizationMethod", model.get("normalizationMethod", "none"))
    if method == "softmax":
        value = net.node("Softmax", [value], len(neurons), axis=1)
    elif method == "simplemax":
        value = simplemax(net, value, len(neurons))
    elif method != "none":
        raise layer.refused(f"normalizationMethod {method!r} is not known")
    return {neuron.need("id"): (value, i) for i, neuron in enumerate(neurons)}


def _place(con: Element, places: Mapping[str, Place]) -> Place:
    name = con.need("from")
    if name not in places:
        raise con.refused(f"comes from {name[:40]!r}, which is no neuron or input before it")
    return places[name]


def _activated(model: Element, layer: Element, value: str, net: Net) -> str:
    function, width = layer.get("activationFunction", model.get("activationFunction")), net.widths[value]
    if function == "identity":
        return value
    if function in _PLAIN:
        return net.node(_PLAIN[function], [value], width)
    if function == "square":
        return net.node("Mul", [value, value], width)
    if function == "Gauss":
        return net.node("Exp", [net.node("Neg", [net.node("Mul", [value, value], width)], width)], width)
    if function == "Elliott":
        return net.node("Softsign", [value], width)
    if function == "arctan":
        return net.node("Mul", [net.node("Atan", [value], width), net.constant([[2 / math.pi]])], width)
    if function == "threshold":
        limit = net.constant([[layer.number("threshold", model.number("threshold", 0.0))]])
        return net.node("Cast", [net.node("Greater", [value, limit], width)], width, to=TensorProto.FLOAT)
    raise layer.refused(f"activationFunction {function!r} is not taken over")


def _outputs(model: Element, places: Mapping[str, Place], scope: Scope) -> Result:
    net = scope.net
    outputs = list(model.only("NeuralOutputs").all("NeuralOutput"))
    found = []
    for element in outputs:
        name = element.need("outputNeuron")
        if name not in places:
            raise element.refused(f"its neuron {name[:40]!r} is not in any layer")
        found.append(Column(*places[name]))
    if not is_classification(model):
        if len(found) != 1:
            raise model.refused(f"has {len(found)} outputs; a regression has one")
        return Result(net.matrix([_denormalised(outputs[0].only("DerivedField"), found[0])]))
    classes = [element.only("DerivedField").only("NormDiscrete").need("value") for element in outputs]
    target = declared_classes(model, scope.fields, tuple(classes))
    scores = net.matrix(found)
    if len(classes) == 1 and len(target) == 2:
        other = next(name for name in target if name != classes[0])
        rest = net.node("Sub", [net.constant([[1.0]]), scores], 1)
        scores, classes = net.node("Concat", [scores, rest], 2, axis=1), [*classes, other]
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise model.refused("needs an output for each of two classes or more")
    return ordered(net, Result(scores, tuple(classes)), target)


def _denormalised(derived: Element, column: Column) -> Column:
    """The target from what the neuron says of it: the straight line read backwards."""
    line = derived.first("NormContinuous")
    if line is None:
        derived.only("FieldRef")
        return column
    points = [(point.number("orig"), point.number("norm")) for point in line.all("LinearNorm")]
    if len(points) != 2 or points[0][1] == points[1][1]:
        raise line.refused("of an output needs two LinearNorm with different norm")
    (first, low), (last, high) = points
    return column.plus(-low).times((last - first) / (high - low)).plus(first)
