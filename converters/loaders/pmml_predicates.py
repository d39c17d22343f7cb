"""Predicates of tree nodes as chains of the one test that our ONNX trees have: at most a float32, and which way a missing value goes
(DMG PMML 4.4, TreeModel; three-valued logic for missing values)."""

from __future__ import annotations

import math
import re

import numpy as np

from converters.loaders.pmml_fields import Scope
from converters.loaders.pmml_xml import Element
from converters.passes.tree_nodes import TreeNode, Weights

PREDICATES = ("True", "False", "SimplePredicate", "SimpleSetPredicate", "CompoundPredicate")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')

Ways = tuple[int, int, int]
"""Rows to go on at when a predicate is true, false, or unknown for a missing value."""


class Rows:
    """Tree rows under construction; equal ones are one. Children come before those that lead to them."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.made: list[TreeNode] = []
        self._known: dict[tuple[object, ...], int] = {}
        self._features: dict[str, int] = {}
        self._done: dict[tuple[int, Ways], int] = {}

    @property
    def features(self) -> list[str]:
        """Names of fields by feature number."""
        return list(self._features)

    def leaf(self, weights: Weights) -> int:
        return self._row(("leaf", repr(weights)), TreeNode(None, weights=weights))

    def branch(self, name: str, value: float, true: int, false: int, *, missing: bool = False) -> int:
        """A test whether the field is at most ``value``, a float32; ``missing`` values go the true way if said so."""
        if true == false:
            return true
        feature = self._features.setdefault(name, len(self._features))
        test = (b"BRANCH_LEQ", feature, value, int(missing))
        return self._row((*test, true, false), TreeNode(test, true, false))

    def _row(self, key: tuple[object, ...], row: TreeNode) -> int:
        if key not in self._known:
            self._known[key] = len(self.made)
            self.made.append(row)
        return self._known[key]

    def predicate(self, element: Element, ways: Ways) -> int:
        """The row at which ``element`` is decided."""
        if ways[0] == ways[1] == ways[2]:
            return ways[0]
        key = (id(element), ways)
        if key not in self._done:
            self._done[key] = self._predicate(element, ways)
        return self._done[key]

    def _predicate(self, element: Element, ways: Ways) -> int:
        if element.name in ("True", "False"):
            return ways[element.name == "False"]
        if element.name == "CompoundPredicate":
            inner = [child for child in element.children if child.name in PREDICATES]
            if not inner:
                raise element.refused("has no predicates")
            return self._compound(element, inner, ways)
        name = element.need("field")
        self.scope.column(name, element)  # raises for a name that nobody knows
        if element.name == "SimpleSetPredicate":
            return self._set(element, name, ways)
        return self._simple(element, name, ways)

    def _compound(self, element: Element, inner: list[Element], ways: Ways) -> int:
        operator, (true, false, unknown) = element.get("booleanOperator"), ways
        if len(inner) == 1:
            return self.predicate(inner[0], ways)
        rest = inner[1:]
        if operator == "surrogate":
            return self.predicate(inner[0], (true, false, self._compound(element, rest, ways)))
        if operator == "and":
            otherwise = false if unknown == false else self._compound(element, rest, (unknown, false, unknown))
            return self.predicate(inner[0], (self._compound(element, rest, ways), false, otherwise))
        if operator == "or":
            otherwise = true if unknown == true else self._compound(element, rest, (true, unknown, unknown))
            return self.predicate(inner[0], (true, self._compound(element, rest, ways), otherwise))
        if operator == "xor":
            turned = self._compound(element, rest, (false, true, unknown))
            return self.predicate(inner[0], (turned, self._compound(element, rest, ways), unknown))
        raise element.refused(f"booleanOperator {operator!r} is not known")

    def _simple(self, element: Element, name: str, ways: Ways) -> int:
        operator, (true, false, unknown) = element.need("operator"), ways
        if operator in ("isMissing", "isNotMissing"):
            present, absent = (false, true) if operator == "isMissing" else (true, false)
            return self.branch(name, math.inf, present, absent)
        field = self.scope.field_of(name)
        value = field.code(element.need("value"), element)
        if operator == "equal":
            return self._equal(name, value, ways, false)
        if operator == "notEqual":
            return self._equal(name, value, (false, true, unknown), true)
        if field.text:
            raise element.refused(f"{operator} of text is not taken over")
        if operator == "lessOrEqual":
            return self._at_most(name, largest_float32(value, below=False), ways)
        if operator == "lessThan":
            return self._at_most(name, largest_float32(value, below=True), ways)
        if operator == "greaterThan":
            return self._at_most(name, largest_float32(value, below=False), (false, true, unknown))
        if operator == "greaterOrEqual":
            return self._at_most(name, largest_float32(value, below=True), (false, true, unknown))
        raise element.refused(f"operator {operator!r} is not known")

    def _set(self, element: Element, name: str, ways: Ways) -> int:
        operator, (true, false, unknown) = element.need("booleanOperator"), ways
        if operator not in ("isIn", "isNotIn"):
            raise element.refused(f"booleanOperator {operator!r} is not known")
        if operator == "isNotIn":
            true, false = false, true
        field = self.scope.field_of(name)
        values = words_of(element.only("Array"))
        row = false
        for value in reversed(values[1:]):
            row = self._equal(name, field.code(value, element), (true, row, row), false)
        if not values:
            return self.branch(name, math.inf, false, unknown)
        return self._equal(name, field.code(values[0], element), (true, row, unknown), false)

    def _at_most(self, name: str, value: float, ways: Ways) -> int:
        """One test; a missing value goes one of its two ways where that is where it must go, and is told apart before otherwise."""
        true, false, unknown = ways
        if unknown in (true, false):
            return self.branch(name, value, true, false, missing=unknown == true)
        return self.branch(name, math.inf, self.branch(name, value, true, false), unknown)

    def _equal(self, name: str, value: float, ways: Ways, absent: int) -> int:
        """At most the float32 next to ``value``, and above the one below it; a missing value that goes the false way ends at ``absent``.

        ONNX has a test for equality, but ONNX Runtime makes sets of such tests in a row, and errs where rows are shared.
        """
        true, false, unknown = ways
        with np.errstate(over="ignore"):
            near = np.float32(value)
        inner = self.branch(name, float(np.nextafter(near, np.float32(-np.inf))), false, true)
        if unknown in (false, absent):
            return self.branch(name, float(near), inner, false)
        if unknown == true:
            return self.branch(name, float(near), inner, false, missing=True)
        return self.branch(name, math.inf, self.branch(name, float(near), inner, false), unknown)


def largest_float32(value: float, *, below: bool) -> float:
    """The largest float32 that is at most ``value``, or ``below`` it. For every float32 x, x <= value is then x <= that, exactly."""
    with np.errstate(over="ignore"):
        near = np.float32(value)
    if float(near) > value or (below and float(near) == value):  # in float64: numpy would compare in float32
        near = np.nextafter(near, np.float32(-np.inf))
    return float(near)


def words_of(array: Element) -> list[str]:
    """The entries of an Array; quotes hold words with blanks together."""
    return [(quoted or bare).replace('\\"', '"') for quoted, bare in _WORD.findall(array.text)]
