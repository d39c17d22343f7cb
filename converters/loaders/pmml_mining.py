"""MiningModel: forests, boosting and chains of models (DMG PMML 4.4, MultipleModels)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from converters.loaders.pmml_expressions import EXPRESSIONS, expression, with_derived
from converters.loaders.pmml_fields import Scope, treated
from converters.loaders.pmml_net import Column
from converters.loaders.pmml_network import network
from converters.loaders.pmml_predicates import PREDICATES
from converters.loaders.pmml_regression import regression
from converters.loaders.pmml_result import Result, declared_classes, is_classification, ordered, retargeted
from converters.loaders.pmml_trees import Forest, named_classes, tree
from converters.loaders.pmml_xml import Element

_KINDS: Mapping[str, Callable[[Element, Scope], Result]] = MappingProxyType(
    {"NeuralNetwork": network, "RegressionModel": regression, "TreeModel": tree}
)
MODELS = ("MiningModel", *_KINDS)
_SUMMED = ("sum", "average", "weightedAverage", "weightedSum", "majorityVote", "weightedMajorityVote")


def compiled(model: Element, scope: Scope) -> Result:
    """Any model, in the scope of the one that holds it."""
    if model.get("isScorable", "true") == "false":
        raise model.refused("says of itself that it is not for scoring")
    if model.name not in MODELS:
        raise model.refused(f"this kind of model is not taken over; {', '.join(MODELS)} are")
    inner = with_derived(scope.with_columns(treated(scope.net, model, scope.fields, scope.columns)), model.first("LocalTransformations"))
    if model.name == "MiningModel":
        return retargeted(scope.net, model, _mining(model, inner))
    return retargeted(scope.net, model, _KINDS[model.name](model, inner))


def _mining(model: Element, scope: Scope) -> Result:
    segmentation = model.only("Segmentation")
    segments = list(segmentation.all("Segment"))
    method = segmentation.need("multipleModelMethod")
    if not segments:
        raise segmentation.refused("has no Segment")
    for segment in segments:
        if segment.only(*PREDICATES).name != "True":
            raise segment.refused("applies to some samples only, which is not taken over")
    if segmentation.get("missingPredictionTreatment", "continue") not in ("continue", "returnMissing"):
        raise segmentation.refused(f"missingPredictionTreatment {segmentation.get('missingPredictionTreatment')!r} is not taken over")
    if method == "modelChain":
        return _chain(segments, scope)
    if method in ("selectFirst", "selectAll"):
        if method == "selectFirst":
            return compiled(_model_of(segments[0]), scope)
        raise segmentation.refused("multipleModelMethod selectAll has several answers")
    factors = _factors(segments, method)
    if method in _SUMMED and all(_summable(_model_of(segment)) for segment in segments):
        return _forest(model, segments, factors, scope, votes="ajorityVote" in method)
    return _combined(model, segmentation, segments, factors, scope)


def _model_of(segment: Element) -> Element:
    found = [child for child in segment.children if child.name.endswith("Model") or child.name in MODELS]
    if len(found) != 1:
        raise segment.refused(f"holds {len(found)} models; one was expected")
    return found[0]


def _factors(segments: Sequence[Element], method: str) -> list[float]:
    """What each answer is multiplied with before they are added up."""
    if method == "sum":
        return [1.0] * len(segments)
    weights = [segment.number("weight", 1.0) for segment in segments] if method.startswith("weighted") else [1.0] * len(segments)
    total = 1.0 if method == "weightedSum" else sum(weights)
    if total == 0:
        raise segments[0].refused("the weights of all segments add up to nothing")
    return [weight / total for weight in weights]


def _summable(model: Element) -> bool:
    """Whether a tree needs nothing of its own before or after it."""
    treatments = {"missingValueReplacement", "outliers"}
    own = any(treatments & set(element.attributes) for element in model.only("MiningSchema").all("MiningField"))
    return model.name == "TreeModel" and not own and model.first("LocalTransformations", "Targets") is None


def _forest(model: Element, segments: Sequence[Element], factors: Sequence[float], scope: Scope, *, votes: bool) -> Result:
    models = [_model_of(segment) for segment in segments]
    classes: tuple[str, ...] = ()
    if is_classification(model):
        found = tuple(dict.fromkeys(name for inner in models for name in named_classes(inner, scope)))
        classes = declared_classes(model, scope.fields, found)
    forest = Forest(scope, classes, votes)
    for inner, factor in zip(models, factors, strict=True):
        if is_classification(inner) != bool(classes):
            raise inner.refused(f"is a {inner.get('functionName')} within a {model.get('functionName')}")
        forest.add(inner, scope, factor)
    return forest.result()


def _combined(model: Element, segmentation: Element, segments: Sequence[Element], factors: Sequence[float], scope: Scope) -> Result:
    """Models of any kind, side by side: a sum of their answers, or the largest."""
    net, method = scope.net, segmentation.need("multipleModelMethod")
    results = [compiled(_model_of(segment), scope) for segment in segments]
    notes = tuple(dict.fromkeys(note for result in results for note in result.notes))
    classes: tuple[str, ...] = ()
    if is_classification(model):
        classes = declared_classes(model, scope.fields, tuple(dict.fromkeys(name for result in results for name in result.classes)))
        results = [ordered(net, result, classes) for result in results]
    if any(len(result.classes) != len(classes) for result in results):
        raise segmentation.refused("its segments give answers of different kinds")
    width = len(classes) or 1
    if method == "max" and not classes:
        return Result(net.node("Max", [result.tensor for result in results], width), (), notes)
    if method not in _SUMMED or "ajorityVote" in method:
        raise segmentation.refused(f"multipleModelMethod {method!r} is not taken over for these models")
    scaled = [
        result.tensor if factor == 1.0 else net.node("Mul", [result.tensor, net.constant([[factor]])], width)
        for result, factor in zip(results, factors, strict=True)
    ]
    return Result(scaled[0] if len(scaled) == 1 else net.node("Sum", scaled, width), classes, notes)


def _chain(segments: Sequence[Element], scope: Scope) -> Result:
    """Each model may use what those before it put out; the last one's answer is the answer."""
    notes: list[str] = []
    for segment in segments:
        model = _model_of(segment)
        result = compiled(model, scope)
        notes += result.notes
        scope = _with_outputs(model, result, scope)
    return Result(result.tensor, result.classes, tuple(dict.fromkeys(notes)))


def _with_outputs(model: Element, result: Result, scope: Scope) -> Scope:
    outputs = model.first("Output")
    for element in outputs.all("OutputField") if outputs else ():
        column = _output(element, result, scope)
        if column is not None:
            scope = scope.with_columns({element.need("name"): column})
    return scope


def _output(element: Element, result: Result, scope: Scope) -> Column | None:
    """One output as a column; ``None`` for those that are no numbers (whoever uses one is refused by its name)."""
    feature = element.get("feature", "transformedValue" if any(c.name in EXPRESSIONS for c in element.children) else "predictedValue")
    if feature == "transformedValue":
        return expression(element, scope)
    if feature == "predictedValue" and not result.classes:
        return Column(result.tensor, 0)
    if feature == "probability" and element.get("value") in result.classes:
        return Column(result.tensor, result.classes.index(element.get("value")))
    return None
