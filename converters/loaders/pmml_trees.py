"""TreeModel: nested nodes as one ONNX tree (DMG PMML 4.4, TreeModel)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from onnx import helper

from converters.loaders.pmml_fields import Scope
from converters.loaders.pmml_net import ML_DOMAIN, X
from converters.loaders.pmml_predicates import PREDICATES, Rows
from converters.loaders.pmml_result import Result, declared_classes, is_classification
from converters.loaders.pmml_xml import Element
from converters.passes.merge_trees import laid_out
from converters.passes.tree_nodes import Tree, TreeNode, Weights, write_trees

_MISSING = ("none", "defaultChild", "lastPrediction", "nullPrediction")


@dataclass(slots=True)
class Forest:
    """Trees over the same scope, to be added up in one operation. ``classes`` is empty for regressions. ``votes`` makes a leaf say only
    which class it names."""

    scope: Scope
    classes: tuple[str, ...]
    votes: bool = False
    trees: list[Tree] = field(default_factory=list)
    renamed: int = 0
    _features: dict[str, int] = field(default_factory=dict)

    def add(self, model: Element, scope: Scope, factor: float = 1.0) -> None:
        """One TreeModel, its leaves times ``factor``."""
        strategy = model.get("missingValueStrategy", "none")
        if strategy not in _MISSING:
            raise model.refused(f"missingValueStrategy {strategy!r} is not taken over; {', '.join(_MISSING)} are")
        rows = Rows(scope)
        tree = _Tree(self, model, rows, strategy, factor)
        top = model.only("Node")
        root = rows.predicate(_predicate(top), (tree.row(top), tree.null, tree.null))
        numbers = {i: self._features.setdefault(name, len(self._features)) for i, name in enumerate(rows.features)}
        self.trees.append([_renumbered(row, numbers) for row in laid_out(rows.made, root)])

    def result(self) -> Result:
        """The sum of all trees."""
        net, names = self.scope.net, list(self._features)
        columns = [self.scope.columns[name] for name in names]
        if all(column.plain and column.source == X for column in columns):
            source, numbers = X, {i: column.index for i, column in enumerate(columns)}
        else:
            source, numbers = net.matrix(columns) if columns else X, {i: i for i in range(len(columns))}
        trees = [[_renumbered(row, numbers) for row in tree] for tree in self.trees]
        width = len(self.classes) or 1
        node = helper.make_node("TreeEnsembleRegressor", [source], ["y"], domain=ML_DOMAIN, n_targets=width)
        tensor = net.add(write_trees(node, trees), width)
        notes: tuple[str, ...] = ()
        if self.renamed:
            notes = (f"{self.renamed} leaves name a class that is not their most probable one; their score is all for the class they name",)
        return Result(tensor, self.classes, notes)


@dataclass(slots=True)
class _Tree:
    forest: Forest
    model: Element
    rows: Rows
    strategy: str
    factor: float

    @property
    def null(self) -> int:
        """No answer."""
        return self.rows.leaf(tuple((i, math.nan) for i in range(len(self.forest.classes) or 1)))

    def row(self, node: Element) -> int:
        """Where a sample goes on that has come to ``node``."""
        children = list(node.all("Node"))
        if not children:
            return self._answer(node)
        made = [self.row(child) for child in children]
        last = self.model.get("noTrueChildStrategy", "returnNullPrediction") == "returnLastPrediction"
        following = self._answer(node) if last else self.null
        unknown = self._unknown(node, children, made)
        for child, row in zip(reversed(children), reversed(made), strict=True):
            following = self.rows.predicate(_predicate(child), (row, following, following if unknown is None else unknown))
        return following

    def _unknown(self, node: Element, children: list[Element], made: list[int]) -> int | None:
        """Where a sample goes whose value is missing; ``None``: to the next child."""
        if self.strategy == "none":
            return None
        if self.strategy == "lastPrediction":
            return self._answer(node)
        if self.strategy == "nullPrediction" or "defaultChild" not in node.attributes:
            return self.null
        for child, row in zip(children, made, strict=True):
            if child.get("id") == node.get("defaultChild"):
                return row
        raise node.refused(f"its defaultChild {node.get('defaultChild')!r} is not among its children")

    def _answer(self, node: Element) -> int:
        """The leaf that gives the prediction of ``node``; a node without one has none."""
        if node.first("Regression", "DecisionTree") is not None:
            raise node.refused("holds another model, which is not taken over")
        if not self.forest.classes:
            return self.rows.leaf(((0, node.number("score") * self.factor),)) if "score" in node.attributes else self.null
        shares = self._shares(node)
        if shares is None:
            return self.null
        weights: Weights = tuple((i, share * self.factor) for i, share in enumerate(shares) if share)
        return self.rows.leaf(weights or ((0, 0.0),))

    def _shares(self, node: Element) -> list[float] | None:
        classes, score = self.forest.classes, node.get("score")
        if score and score not in classes:
            raise node.refused(f"score {score[:40]!r} is not among the classes {', '.join(classes)[:200]}")
        shares = distribution(node, classes)
        if shares is None and not score:
            return None
        best = score or (classes[shares.index(max(shares))] if shares else "")
        if shares is None or self.forest.votes or shares.index(max(shares)) != classes.index(best):
            self.forest.renamed += shares is not None and not self.forest.votes
            return [float(name == best) for name in classes]
        return shares


def distribution(node: Element, classes: tuple[str, ...]) -> list[float] | None:
    """Probabilities by class, from those given or from how many training rows came here."""
    given = list(node.all("ScoreDistribution"))
    if not given:
        return None
    key = "probability" if all("probability" in entry.attributes for entry in given) else "recordCount"
    counts = {entry.need("value"): entry.number(key) for entry in given}
    if any(name not in classes for name in counts):
        raise node.refused("its ScoreDistribution names a class that is not among the target's values")
    total = 1.0 if key == "probability" else sum(counts.values())
    return [counts.get(name, 0.0) / total for name in classes] if total > 0 else None


def tree(model: Element, scope: Scope) -> Result:
    classes = named_classes(model, scope) if is_classification(model) else ()
    forest = Forest(scope, classes)
    forest.add(model, scope)
    return forest.result()


def named_classes(model: Element, scope: Scope) -> tuple[str, ...]:
    """Every class that a node of the tree names."""
    found: dict[str, None] = {}
    waiting = [model.only("Node")]
    while waiting:
        node = waiting.pop()
        for name in (node.get("score"), *(entry.get("value") for entry in node.all("ScoreDistribution"))):
            if name:
                found[name] = None
        waiting += reversed(list(node.all("Node")))
    return declared_classes(model, scope.fields, tuple(found))


def _predicate(node: Element) -> Element:
    return node.only(*PREDICATES)


def _renumbered(row: TreeNode, numbers: dict[int, int]) -> TreeNode:
    if row.test is None:
        return row
    mode, feature, value, missing = row.test
    return TreeNode((mode, numbers[feature], value, missing), row.true, row.false)
