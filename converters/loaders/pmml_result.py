"""What a PMML model gives: scores by class, or one number, and what Targets do to that number (DMG PMML 4.4, Targets)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.loaders.pmml_fields import Field, mining_fields
from converters.loaders.pmml_net import Net
from converters.loaders.pmml_xml import Element


@dataclass(frozen=True, slots=True)
class Result:
    """``tensor`` is (1, width); ``classes`` names its columns, and is empty for a regression. ``notes`` say what is not as written."""

    tensor: str
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def target_field(model: Element, fields: Mapping[str, Field]) -> Field | None:
    """The field that is predicted, where it is named and known."""
    named = mining_fields(model, "target", "predicted")
    return fields.get(named[0].need("name")) if named else None


def declared_classes(model: Element, fields: Mapping[str, Field], found: tuple[str, ...]) -> tuple[str, ...]:
    """Classes in the order of the DataDictionary; without declared values in the order in which the model names them."""
    target = target_field(model, fields)
    declared = target.values if target is not None else ()
    return declared if declared and set(found) <= set(declared) else tuple(dict.fromkeys(found))


def is_classification(model: Element) -> bool:
    """Raises for functions that have no scores (clustering, rules, ...)."""
    function = model.get("functionName")
    if function not in ("classification", "regression"):
        raise model.refused(f"functionName {function!r} is not taken over; classification and regression are")
    return function == "classification"


def ordered(net: Net, result: Result, classes: tuple[str, ...]) -> Result:
    """The scores in the order of ``classes``; a class that the model does not know has score 0."""
    if result.classes == classes:
        return result
    tensor, width = result.tensor, len(result.classes)
    if set(classes) - set(result.classes):
        tensor = net.node("Concat", [tensor, net.constant([[0.0]])], width + 1, axis=1)
    order = [result.classes.index(name) if name in result.classes else width for name in classes]
    return Result(net.node("Gather", [tensor, net.constant(order, "int64")], len(order), axis=1), classes, result.notes)


def retargeted(net: Net, model: Element, result: Result) -> Result:
    """min, max, rescaling and rounding of a regression."""
    targets = model.first("Targets")
    target = targets.first("Target") if targets else None
    if target is None or result.classes:
        return result
    tensor = result.tensor
    for key, op in (("min", "Max"), ("max", "Min")):
        if key in target.attributes:
            tensor = net.node(op, [tensor, net.constant([[target.number(key)]])], 1)
    for key, op, neutral in (("rescaleFactor", "Mul", 1.0), ("rescaleConstant", "Add", 0.0)):
        if target.number(key, neutral) != neutral:
            tensor = net.node(op, [tensor, net.constant([[target.number(key)]])], 1)
    cast = target.get("castInteger")
    if cast == "round":
        tensor = net.node("Floor", [net.node("Add", [tensor, net.constant([[0.5]])], 1)], 1)
    elif cast in ("floor", "ceiling"):
        tensor = net.node("Floor" if cast == "floor" else "Ceil", [tensor], 1)
    elif cast:
        raise target.refused(f"castInteger {cast!r} is not known")
    return Result(tensor, (), result.notes)
