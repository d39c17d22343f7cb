"""The fields of a PMML document: what the device must send, in which order and code, and what is done to a value before a model sees it
(DMG PMML 4.4, DataDictionary and MiningSchema)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from converters.loaders.pmml_net import Column, Net, X
from converters.loaders.pmml_xml import Element

_NUMBERS = frozenset({"integer", "float", "double", "boolean"})
_IGNORED = frozenset({"supplementary", "group", "order", "frequencyWeight", "analysisWeight"})


@dataclass(frozen=True, slots=True)
class Field:
    """``values`` are the declared categories in order. Numbers are sent as they are; text is sent as its place among ``values``."""

    name: str
    dtype: str
    continuous: bool
    values: tuple[str, ...]
    line: int = 0

    @property
    def text(self) -> bool:
        return self.dtype not in _NUMBERS

    def code(self, value: str, where: Element) -> float:
        """The number that stands for ``value``."""
        if self.dtype == "boolean" and value in ("true", "false"):
            return float(value == "true")
        if not self.text:
            return where.parse(value, f"value of {self.name}")
        if value not in self.values:
            raise where.refused(f"{value[:40]!r} is not among the declared values of field {self.name!r}")
        return float(self.values.index(value))


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean inside a model: fields and derived fields as columns. ``fields`` tells how their values are coded."""

    net: Net
    fields: Mapping[str, Field]
    columns: Mapping[str, Column]
    functions: Mapping[str, Element] = field(default_factory=dict)

    def column(self, name: str, where: Element) -> Column:
        if name not in self.columns:
            raise where.refused(f"field {name!r} is not among the active fields or derived fields")
        return self.columns[name]

    def field_of(self, name: str) -> Field:
        """A derived field without declaration is a number."""
        return self.fields.get(name, Field(name, "double", True, ()))

    def with_columns(self, more: Mapping[str, Column], fields: Mapping[str, Field] | None = None) -> Scope:
        return Scope(self.net, {**self.fields, **(fields or {})}, {**self.columns, **more}, self.functions)


def read_fields(root: Element) -> dict[str, Field]:
    """The DataDictionary."""
    made = {}
    for element in root.only("DataDictionary").all("DataField"):
        values = []
        for value in element.all("Value"):
            if value.get("property", "valid") == "valid":
                values.append(value.need("value"))
            elif value.get("property") == "missing":
                raise value.refused("values that stand for missing ones are not taken over; send NaN for a missing value")
        dtype, optype = element.get("dataType", "double"), element.get("optype", "continuous")
        made[element.need("name")] = Field(element.need("name"), dtype, optype == "continuous", tuple(values), element.line)
    return made


def mining_fields(model: Element, *usages: str) -> list[Element]:
    """The MiningFields of a model that are used as one of ``usages``, in order."""
    schema = model.only("MiningSchema")
    for element in schema.all("MiningField"):
        if element.get("usageType", "active") not in {"active", "target", "predicted", *_IGNORED}:
            raise element.refused(f"usageType {element.get('usageType')!r} is not known")
    return [element for element in schema.all("MiningField") if element.get("usageType", "active") in usages]


def input_fields(model: Element, fields: Mapping[str, Field]) -> list[Field]:
    """What a device sends, in order. Raises for text without declared values: nothing says which number stands for which."""
    found = []
    for element in mining_fields(model, "active"):
        name = element.need("name")
        if name not in fields:
            raise element.refused("is not in the DataDictionary")
        made = fields[name]
        if made.text and made.dtype != "string":
            raise element.refused(f"type {made.dtype} cannot be sent by a device; derive a number from it before the model")
        if made.text and not made.values:
            raise element.refused("is text without declared values: no number can stand for each; declare its Values in the DataDictionary")
        found.append(made)
    if not found:
        raise model.refused("has no active fields")
    return found


def treated(net: Net, model: Element, fields: Mapping[str, Field], columns: Mapping[str, Column]) -> dict[str, Column]:
    """``columns`` after what the MiningSchema of ``model`` does to outliers and missing values."""
    made = dict(columns)
    asked = [element for element in mining_fields(model, "active") if element.need("name") in columns]
    for element in asked:
        name = element.need("name")
        made[name] = _without_outliers(net, element, made[name])
    wanted = {element.need("name"): _replacement(element, fields) for element in asked}
    if all(math.isnan(value) for value in wanted.values()):
        return made
    names = list(wanted)
    matrix = net.matrix([made[name] for name in names])
    gaps = net.node("IsNaN", [matrix], len(names))
    filled = net.node("Where", [gaps, net.constant([list(wanted.values())]), matrix], len(names))
    return {**made, **{name: Column(filled, i) for i, name in enumerate(names)}}


def _replacement(element: Element, fields: Mapping[str, Field]) -> float:
    """The number for a missing value; NaN where it stays missing."""
    if element.get("invalidValueTreatment") == "asValue":
        raise element.refused("invalidValueTreatment asValue is not taken over")
    if "missingValueReplacement" not in element.attributes:
        return math.nan
    known = fields.get(element.need("name"))
    value = element.need("missingValueReplacement")
    return known.code(value, element) if known else element.parse(value, "missingValueReplacement")


def _without_outliers(net: Net, element: Element, column: Column) -> Column:
    treatment = element.get("outliers", "asIs")
    if treatment == "asIs":
        return column
    value = net.matrix([column])
    for op, key in (("Less", "lowValue"), ("Greater", "highValue")):
        limit = net.constant([[element.number(key)]])
        beyond = net.node(op, [value, limit], 1)
        instead = net.constant([[math.nan]]) if treatment == "asMissingValues" else limit
        value = net.node("Where", [beyond, instead, value], 1)
    return Column(value, 0)


def base_columns(inputs: list[Field]) -> dict[str, Column]:
    return {made.name: Column(X, i) for i, made in enumerate(inputs)}


def told(inputs: list[Field]) -> tuple[str, ...]:
    """For people: the columns of ``x`` and the codes of text."""
    said = [f"input x takes {len(inputs)} numbers, in this order: {', '.join(made.name for made in inputs)}; NaN is a missing value"]
    for made in inputs:
        if made.text:
            said.append(f"{made.name} is sent as a number: " + ", ".join(f"{i} for {value}" for i, value in enumerate(made.values)))
    return tuple(said)
