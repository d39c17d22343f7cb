"""A small evaluator of PMML trees written from the specification (DMG PMML 4.4, TreeModel), sharing nothing with the converter."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

Row = dict[str, float | None]
"""Values by field; ``None`` is a missing one."""

_COMPARE = {
    "equal": lambda a, b: a == b,
    "notEqual": lambda a, b: a != b,
    "lessThan": lambda a, b: a < b,
    "lessOrEqual": lambda a, b: a <= b,
    "greaterThan": lambda a, b: a > b,
    "greaterOrEqual": lambda a, b: a >= b,
}
PREDICATES = ("True", "False", "SimplePredicate", "SimpleSetPredicate", "CompoundPredicate")


def truth(element: ElementTree.Element, row: Row) -> bool | None:
    """True, false, or ``None`` for unknown."""
    if element.tag in ("True", "False"):
        return element.tag == "True"
    if element.tag == "CompoundPredicate":
        return _compound(element.attrib["booleanOperator"], [truth(child, row) for child in element])
    value = row[element.attrib["field"]]
    operator = element.attrib.get("operator", "")
    if operator in ("isMissing", "isNotMissing"):
        return (value is None) == (operator == "isMissing")
    if value is None:
        return None
    if element.tag == "SimpleSetPredicate":
        inside = value in [float(word) for word in (element[0].text or "").split()]
        return inside == (element.attrib["booleanOperator"] == "isIn")
    return bool(_COMPARE[operator](value, float(element.attrib["value"])))


def _compound(operator: str, values: list[bool | None]) -> bool | None:
    if operator == "surrogate":
        return next((value for value in values if value is not None), None)
    if operator == "and":
        return False if False in values else None if None in values else True
    if operator == "or":
        return True if True in values else None if None in values else False
    return None if None in values else sum(bool(value) for value in values) % 2 == 1


def predict(model: ElementTree.Element, row: Row) -> float:
    """The score of the node that a row ends at; NaN for none."""
    strategy = model.attrib.get("missingValueStrategy", "none")
    last = model.attrib.get("noTrueChildStrategy", "returnNullPrediction") == "returnLastPrediction"
    node: Any = model.find("Node")
    while True:
        children = node.findall("Node")
        if not children:
            return _score(node)
        chosen, stopped = None, False
        for child in children:
            found = truth(next(inner for inner in child if inner.tag in PREDICATES), row)
            if found is None and strategy != "none":
                stopped = True
                break
            if found:
                chosen = child
                break
        if stopped:
            if strategy == "lastPrediction":
                return _score(node)
            if strategy == "nullPrediction" or "defaultChild" not in node.attrib:
                return math.nan
            chosen = next(child for child in children if child.attrib["id"] == node.attrib["defaultChild"])
        if chosen is None:
            return _score(node) if last else math.nan
        node = chosen


def _score(node: Any) -> float:
    return float(node.attrib["score"]) if "score" in node.attrib else math.nan
