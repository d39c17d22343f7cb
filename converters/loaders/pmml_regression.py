"""RegressionModel: weighted sums and what turns them into probabilities (DMG PMML 4.4, Regression)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converters.loaders.pmml_fields import Scope
from converters.loaders.pmml_net import Column, Net
from converters.loaders.pmml_result import Result, declared_classes, is_classification, ordered
from converters.loaders.pmml_xml import Element

_TERMS = ("NumericPredictor", "CategoricalPredictor", "PredictorTerm")
_TWO_CLASSES = ("none", "logit", "probit", "cloglog", "loglog", "cauchit")


def regression(model: Element, scope: Scope) -> Result:
    tables = list(model.all("RegressionTable"))
    method = model.get("normalizationMethod", "none")
    if not tables:
        raise model.refused("has no RegressionTable")
    columns, weight, bias = _sums(tables, scope)
    if not is_classification(model):
        if len(tables) != 1:
            raise model.refused(f"has {len(tables)} RegressionTables; a regression has one")
        value = _dense(scope.net, columns, weight, bias)
        return Result(inverse_link(scope.net, value, "logit" if method == "softmax" else method, model))
    classes = tuple(table.need("targetCategory") for table in tables)
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise model.refused("needs one RegressionTable for each of two classes or more")
    scores = _probabilities(model, scope.net, columns, weight, bias, method)
    return ordered(scope.net, Result(scores, classes), declared_classes(model, scope.fields, classes))


def _sums(tables: list[Element], scope: Scope) -> tuple[list[Column], Any, Any]:
    """The columns that all tables use, one row of weights for each table, and their intercepts."""
    terms = [[_term(element, scope) for element in table.all(*_TERMS)] for table in tables]
    columns = sorted({column for group in terms for column, _ in group}, key=_order)
    place = {column: i for i, column in enumerate(columns)}
    weight = np.zeros((len(tables), len(columns)))
    for row, group in zip(weight, terms, strict=True):
        for column, coefficient in group:
            row[place[column]] += coefficient
    return columns, weight, np.array([table.number("intercept", 0.0) for table in tables])


def _order(column: Column) -> tuple[str, bool, int, float, float, float, float]:
    """Columns of one source and kind lie together, in a fixed order."""
    return (column.source, column.equals is not None, column.index, column.equals or 0.0, column.shift, column.scale, column.offset)


def _term(element: Element, scope: Scope) -> tuple[Column, float]:
    coefficient = element.number("coefficient")
    if element.name == "PredictorTerm":
        names = [reference.need("field") for reference in element.all("FieldRef")]
        tensors = [scope.net.matrix([scope.column(name, element)]) for name in names]
        if not tensors:
            raise element.refused("has no FieldRef")
        product = tensors[0]
        for tensor in tensors[1:]:
            product = scope.net.node("Mul", [product, tensor], 1)
        return Column(product, 0), coefficient
    name = element.need("name")
    column = scope.column(name, element)
    if element.name == "CategoricalPredictor":
        code = scope.field_of(name).code(element.need("value"), element)
        if not column.plain:
            column = Column(scope.net.matrix([column]), 0)
        return Column(column.source, column.index, equals=code), coefficient
    exponent = element.number("exponent", 1.0)
    if exponent != 1.0:
        power = scope.net.node("Pow", [scope.net.matrix([column]), scope.net.constant([[exponent]])], 1)
        return Column(power, 0), coefficient
    return column, coefficient


def _dense(net: Net, columns: list[Column], weight: Any, bias: Any) -> str:
    if not columns:
        return net.node("Identity", [net.constant([bias])], len(bias))
    return net.dense(net.matrix(columns), weight, bias)


def _probabilities(model: Element, net: Net, columns: list[Column], weight: Any, bias: Any, method: str) -> str:
    count = len(bias)
    if method == "softmax":
        return net.node("Softmax", [_dense(net, columns, weight, bias)], count, axis=1)
    if method == "simplemax":
        return simplemax(net, _dense(net, columns, weight, bias), count)
    if method == "logit" and count == 2:  # 1 - s(y) is s(-y): one dense layer gives both
        return net.node("Sigmoid", [_dense(net, columns, np.stack([weight[0], -weight[0]]), np.stack([bias[0], -bias[0]]))], 2)
    if method == "none" or (method in _TWO_CLASSES and count == 2):
        first = inverse_link(net, _dense(net, columns, weight[:-1], bias[:-1]), method, model)
        total = first if count == 2 else net.node("ReduceSum", [first, net.constant([1], "int64")], 1, keepdims=1)
        return net.node("Concat", [first, net.node("Sub", [net.constant([[1.0]]), total], 1)], count, axis=1)
    raise model.refused(f"normalizationMethod {method!r} with {count} classes is not defined")


def simplemax(net: Net, values: str, width: int) -> str:
    """Each value as a share of their sum."""
    return net.node("Div", [values, net.node("ReduceSum", [values, net.constant([1], "int64")], 1, keepdims=1)], width)


def inverse_link(net: Net, value: str, method: str, where: Element) -> str:
    """What a linear sum says of the target, by the name of the link function."""
    width = net.widths[value]
    if method in ("none", "identity"):
        return value
    if method == "logit":
        return net.node("Sigmoid", [value], width)
    if method in ("exp", "log"):
        return net.node("Exp", [value], width)
    one, half = net.constant([[1.0]]), net.constant([[0.5]])
    if method == "probit":
        error = net.node("Erf", [net.node("Mul", [value, net.constant([[math.sqrt(0.5)]])], width)], width)
        return net.node("Add", [net.node("Mul", [error, half], width), half], width)
    if method == "cloglog":
        return net.node("Sub", [one, net.node("Exp", [net.node("Neg", [net.node("Exp", [value], width)], width)], width)], width)
    if method == "loglog":
        return net.node("Exp", [net.node("Neg", [net.node("Exp", [net.node("Neg", [value], width)], width)], width)], width)
    if method == "cauchit":
        angle = net.node("Mul", [net.node("Atan", [value], width), net.constant([[1 / math.pi]])], width)
        return net.node("Add", [angle, half], width)
    raise where.refused(f"link or normalizationMethod {method!r} is not known")
