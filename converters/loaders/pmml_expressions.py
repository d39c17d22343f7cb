"""Derived fields: PMML's expressions as columns (DMG PMML 4.4, Transformations and Functions)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from onnx import TensorProto

from converters.loaders.pmml_fields import Field, Scope
from converters.loaders.pmml_net import Column, Net
from converters.loaders.pmml_xml import Element

EXPRESSIONS = ("Constant", "FieldRef", "NormContinuous", "NormDiscrete", "Apply", "Discretize", "MapValues")
_OTHER = ("TextIndex", "Aggregate", "Lag")

_BINARY = MappingProxyType({"+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "pow": "Pow"})
_UNARY = MappingProxyType({"exp": "Exp", "ln": "Log", "sqrt": "Sqrt", "abs": "Abs", "floor": "Floor", "ceil": "Ceil", "tanh": "Tanh"})
_MANY = MappingProxyType({"min": "Min", "max": "Max", "sum": "Sum", "avg": "Mean"})
_COMPARISONS = MappingProxyType(
    {"equal": "Equal", "lessThan": "Less", "lessOrEqual": "LessOrEqual", "greaterThan": "Greater", "greaterOrEqual": "GreaterOrEqual"}
)


def with_derived(scope: Scope, holder: Element | None) -> Scope:
    """``scope`` with the DerivedFields of a TransformationDictionary or LocalTransformations; each may use those before it."""
    for element in holder.all("DerivedField") if holder else ():
        name = element.need("name")
        column = expression(element, scope)
        made = Field(name, element.get("dataType", "double"), element.get("optype", "continuous") == "continuous", ())
        if made.text and element.first("FieldRef") is not None:
            made = scope.field_of(element.only("FieldRef").need("field"))
        scope = scope.with_columns({name: column}, {name: made})
    return scope


def expression(holder: Element, scope: Scope) -> Column:
    """The one expression in ``holder``."""
    inner = [child for child in holder.children if child.name in (*EXPRESSIONS, *_OTHER)]
    if len(inner) != 1:
        raise holder.refused(f"has {len(inner)} expressions; one of {', '.join(EXPRESSIONS)} was expected")
    return column_of(inner[0], scope)


def column_of(element: Element, scope: Scope) -> Column:
    made = _EXPRESSIONS.get(element.name)
    if made is None:
        raise element.refused("this expression is not taken over")
    if "mapMissingTo" not in element.attributes or element.name == "Apply":
        column = made(element, scope)
        return _filled(scope.net, column, element.number("mapMissingTo"), column) if "mapMissingTo" in element.attributes else column
    source = scope.column(element.get("field"), element) if element.get("field") else made(element, scope)
    return _filled(scope.net, source, element.number("mapMissingTo"), made(element, scope))


def _filled(net: Net, source: Column, value: float, column: Column) -> Column:
    """``column``, or ``value`` where ``source`` is missing."""
    gaps = net.node("IsNaN", [net.matrix([source])], 1)
    return Column(net.node("Where", [gaps, net.constant([[value]]), net.matrix([column])], 1), 0)


def _constant(element: Element, scope: Scope) -> Column:
    return scope.net.full(element.parse(element.text.strip(), "constant"))


def _field_ref(element: Element, scope: Scope) -> Column:
    return scope.column(element.need("field"), element)


def _norm_discrete(element: Element, scope: Scope) -> Column:
    name = element.need("field")
    column = scope.column(name, element)
    code = scope.field_of(name).code(element.need("value"), element)
    if column.plain:
        return Column(column.source, column.index, equals=code)
    return Column(scope.net.matrix([column]), 0, equals=code)


def _norm_continuous(element: Element, scope: Scope) -> Column:
    """Straight lines between points; beyond the last ones they go on, stop, or are missing."""
    column = scope.column(element.need("field"), element)
    points = [(point.number("orig"), point.number("norm")) for point in element.all("LinearNorm")]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points) if b[0] > a[0]]
    if len(points) < 2 or len(slopes) != len(points) - 1:
        raise element.refused("needs two LinearNorm or more, with growing orig")
    treatment, net = element.get("outliers", "asIs"), scope.net
    if treatment != "asIs":
        column = _bounded(net, column, points[0][0], points[-1][0], missing=treatment == "asMissingValues")
    first = column.plus(-points[0][0]).times(slopes[0]).plus(points[0][1])
    if len(points) == 2:
        return first
    terms = [net.matrix([first])]
    for (orig, _), before, after in zip(points[1:], slopes, slopes[1:], strict=False):
        bend = net.node("Relu", [net.matrix([column.plus(-orig)])], 1)
        terms.append(net.node("Mul", [bend, net.constant([[after - before]])], 1))
    return Column(net.node("Sum", terms, 1), 0)


def _bounded(net: Net, column: Column, low: float, high: float, *, missing: bool) -> Column:
    value = net.matrix([column])
    for op, limit in (("Less", low), ("Greater", high)):
        bound = net.constant([[limit]])
        value = net.node("Where", [net.node(op, [value, bound], 1), net.constant([[np.nan]]) if missing else bound, value], 1)
    return Column(value, 0)


def _discretize(element: Element, scope: Scope) -> Column:
    """The first interval that holds the value. Its words must be numbers."""
    net, source = scope.net, scope.net.matrix([scope.column(element.need("field"), element)])
    result = net.constant([[element.number("defaultValue", np.nan)]])
    for bin_ in reversed(list(element.all("DiscretizeBin"))):
        interval = bin_.only("Interval")
        closure = interval.get("closure", "openOpen")
        tests = []
        if "leftMargin" in interval.attributes:
            op = "GreaterOrEqual" if closure.startswith("closed") else "Greater"
            tests.append(net.node(op, [source, net.constant([[interval.number("leftMargin")]])], 1))
        if "rightMargin" in interval.attributes:
            op = "LessOrEqual" if closure.endswith("Closed") else "Less"
            tests.append(net.node(op, [source, net.constant([[interval.number("rightMargin")]])], 1))
        if not tests:
            raise interval.refused("has no margins")
        inside = tests[0] if len(tests) == 1 else net.node("And", tests, 1)
        result = net.node("Where", [inside, net.constant([[bin_.number("binValue")]]), result], 1)
    return _kept_missing(net, source, Column(net.node("Identity", [result], 1), 0))


def _kept_missing(net: Net, source: str, column: Column) -> Column:
    gaps = net.node("IsNaN", [source], 1)
    return Column(net.node("Where", [gaps, source, net.matrix([column])], 1), 0)


def _map_values(element: Element, scope: Scope) -> Column:
    """A table of one field's values to numbers."""
    pair = element.only("FieldColumnPair")
    name, key, answer = pair.need("field"), pair.need("column"), element.need("outputColumn")
    net, source = scope.net, scope.net.matrix([scope.column(name, pair)])
    result = net.constant([[element.number("defaultValue", np.nan)]])
    for row in element.only("InlineTable").all("row"):
        given, told = row.only(key), row.only(answer)
        code = scope.field_of(name).code(given.text.strip(), given)
        hit = net.node("Equal", [source, net.constant([[code]])], 1)
        result = net.node("Where", [hit, net.constant([[told.parse(told.text.strip(), answer)]]), result], 1)
    return Column(net.node("Identity", [result], 1), 0)


def _apply(element: Element, scope: Scope) -> Column:
    function = element.need("function")
    operands = [child for child in element.children if child.name in (*EXPRESSIONS, *_OTHER)]
    if function in scope.functions:
        return _called(scope.functions[function], operands, element, scope)
    folded = _folded(function, operands, scope)
    if folded is not None:
        return folded
    net = scope.net
    if function in ("if", *_COMPARISONS, "notEqual", "and", "or", "not", "isMissing", "isNotMissing"):
        return Column(_as_number(element, scope) if function == "if" else _to_float(net, _truth(element, scope)), 0)
    inputs = [net.matrix([column_of(operand, scope)]) for operand in operands]
    if function in _BINARY and len(inputs) == 2:
        return Column(net.node(_BINARY[function], inputs, 1), 0)
    if function in _UNARY and len(inputs) == 1:
        return Column(net.node(_UNARY[function], inputs, 1), 0)
    if function in _MANY and inputs:
        return Column(net.node(_MANY[function], inputs, 1), 0)
    if function == "log10" and len(inputs) == 1:
        return Column(net.node("Log", inputs, 1), 0).times(1 / np.log(10.0))
    if function == "threshold" and len(inputs) == 2:
        return Column(_to_float(net, net.node("Greater", inputs, 1)), 0)
    raise element.refused(f"function {function!r} with {len(inputs)} operands is not taken over")


def _folded(function: str, operands: Sequence[Element], scope: Scope) -> Column | None:
    """A column shifted or scaled by a constant stays one column, so that a scaler of many columns is one operation."""
    if len(operands) != 2 or function not in ("+", "-", "*", "/"):
        return None
    left, right = operands
    if right.name == "Constant":
        value, column = right.parse(right.text.strip(), "constant"), column_of(left, scope)
    elif left.name == "Constant" and function in ("+", "*", "-"):
        value, column = left.parse(left.text.strip(), "constant"), column_of(right, scope)
        if function == "-":
            return None if column.equals is not None else column.times(-1.0).plus(value)
    else:
        return None
    if column.equals is not None or (function == "/" and value == 0.0):
        return None
    if function in ("+", "-"):
        return column.plus(value if function == "+" else -value)
    return column.times(value if function == "*" else 1 / value)


def _called(definition: Element, operands: Sequence[Element], where: Element, scope: Scope) -> Column:
    """A function that the document defines: its parameters are names for the operands, and it sees nothing else."""
    names = [parameter.need("name") for parameter in definition.all("ParameterField")]
    if len(names) != len(operands):
        raise where.refused(f"function {definition.get('name')!r} takes {len(names)} operands")
    columns = {name: column_of(operand, scope) for name, operand in zip(names, operands, strict=True)}
    # A function may call those defined before it: without itself there is no end to fear.
    others = {name: element for name, element in scope.functions.items() if element.line < definition.line}
    return expression(definition, Scope(scope.net, {}, columns, others))


def _as_number(element: Element, scope: Scope) -> str:
    """if(condition, then, else): without else it is missing."""
    operands = [child for child in element.children if child.name in EXPRESSIONS]
    if len(operands) not in (2, 3):
        raise element.refused("if takes two or three operands")
    net = scope.net
    ways = [net.matrix([column_of(operand, scope)]) for operand in operands[1:]]
    if len(ways) == 1:
        ways.append(net.constant([[np.nan]]))
    return net.node("Where", [_truth(operands[0], scope), *ways], 1)


def _truth(element: Element, scope: Scope) -> str:
    """A condition, as a tensor of bool."""
    net, function = scope.net, element.get("function")
    operands = [child for child in element.children if child.name in EXPRESSIONS]
    if element.name != "Apply":
        return net.node("Greater", [net.matrix([column_of(element, scope)]), net.constant([[0.5]])], 1)
    if function in ("and", "or") and len(operands) >= 2:
        made = _truth(operands[0], scope)
        for operand in operands[1:]:
            made = net.node(function.capitalize(), [made, _truth(operand, scope)], 1)
        return made
    if function == "not" and len(operands) == 1:
        return net.node("Not", [_truth(operands[0], scope)], 1)
    if function in ("isMissing", "isNotMissing") and len(operands) == 1:
        missing = net.node("IsNaN", [net.matrix([column_of(operands[0], scope)])], 1)
        return missing if function == "isMissing" else net.node("Not", [missing], 1)
    if function in (*_COMPARISONS, "notEqual") and len(operands) == 2:
        sides = _compared(operands, scope)
        made = net.node(_COMPARISONS.get(function, "Equal"), sides, 1)
        return net.node("Not", [made], 1) if function == "notEqual" else made
    return net.node("Greater", [net.matrix([_apply(element, scope)]), net.constant([[0.5]])], 1)


def _compared(operands: Sequence[Element], scope: Scope) -> list[str]:
    """Both sides; a constant beside a field of text is one of its values."""
    field = next((scope.field_of(operand.need("field")) for operand in operands if operand.name == "FieldRef"), None)
    sides = []
    for operand in operands:
        if operand.name == "Constant" and field is not None:
            sides.append(scope.net.constant([[field.code(operand.text.strip(), operand)]]))
        else:
            sides.append(scope.net.matrix([column_of(operand, scope)]))
    return sides


def _to_float(net: Net, condition: str) -> str:
    return net.node("Cast", [condition], 1, to=TensorProto.FLOAT)


_EXPRESSIONS: Mapping[str, Callable[[Element, Scope], Column]] = MappingProxyType(
    {
        "Apply": _apply,
        "Constant": _constant,
        "Discretize": _discretize,
        "FieldRef": _field_ref,
        "MapValues": _map_values,
        "NormContinuous": _norm_continuous,
        "NormDiscrete": _norm_discrete,
    }
)
