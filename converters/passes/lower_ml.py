"""Classic models in plain ONNX operators: scalers, linear models and their like from the ai.onnx.ml domain become Gemm, Mul, Softmax, ...,
which quantization and TensorFlow Lite know. Operators without such words (tree ensembles, kernels) stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from converters.model import Graph
from converters.passes.contract import Pass
from converters.passes.lower_ml_columns import array_feature_extractor, binarizer, feature_vectorizer, imputer
from converters.passes.lower_ml_linear import linear_classifier, linear_regressor, svm_regressor
from converters.passes.lower_ml_rows import normalizer, scaler
from converters.passes.lower_ml_writer import ML_DOMAIN, Writer
from converters.shapes import infer_shapes

Lowering = Callable[[Writer, Any], bool]
"""Writes what one node does; false, with nothing written, where plain operators cannot say it."""

LOWERINGS: Mapping[str, Lowering] = MappingProxyType(
    {
        "ArrayFeatureExtractor": array_feature_extractor,
        "Binarizer": binarizer,
        "FeatureVectorizer": feature_vectorizer,
        "Imputer": imputer,
        "LinearClassifier": linear_classifier,
        "LinearRegressor": linear_regressor,
        "Normalizer": normalizer,
        "SVMRegressor": svm_regressor,
        "Scaler": scaler,
    }
)


def lower_ml(graph: Graph) -> Graph:
    """In rounds: ONNX's inference tells no shapes behind an operator of the domain, so what follows one is understood when that is gone."""
    after = _round(graph)
    while after is not graph:
        graph, after = after, _round(after)
    return after


def _round(graph: Graph) -> Graph:
    if not any(node.domain == ML_DOMAIN and node.op_type in LOWERINGS for node in graph.nodes):
        return graph
    read = frozenset(name for node in graph.nodes for name in node.input) | graph.output_names()
    writer = Writer(graph, infer_shapes(graph), read)
    changed = False
    for node in graph.nodes:
        lowering = LOWERINGS.get(node.op_type) if node.domain == ML_DOMAIN else None
        if lowering is not None and lowering(writer, node):
            changed = True
        else:
            writer.keep(node)
    if not changed:
        return graph
    after = graph.edited(writer.nodes, writer.constants)
    if any(node.domain == ML_DOMAIN for node in after.nodes):
        return after
    return replace(after, domains={name: version for name, version in after.domains.items() if name != ML_DOMAIN})


LOWER_ML = Pass("lower_ml", lower_ml)
