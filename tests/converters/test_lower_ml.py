"""Operators of classic models become plain ones, forests become smaller, and every answer stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.model import Graph, graph_of, to_bytes
from converters.passes.lower_ml import lower_ml
from converters.passes.merge_trees import merge_trees
from converters.passes.run import run_passes

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

RANDOM = np.random.default_rng(7)


def graph(nodes: list[Any], outputs: dict[str, int], columns: int = 4, dtype: int = TensorProto.FLOAT, **constants: Any) -> Graph:
    body = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, [1, columns])],
        [helper.make_tensor_value_info(name, kind, ["n"] if name == "label" else ["n", None]) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return graph_of(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    )


def ml(op: str, outputs: list[str], inputs: tuple[str, ...] = ("x",), **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), outputs, domain="ai.onnx.ml", **attributes)


def rows(count: int = 40, columns: int = 4, dtype: str = "float32") -> list[Any]:
    made = RANDOM.normal(0, 3, (count, 1, columns))
    return [*np.zeros((1, 1, columns), dtype), *made.astype(dtype)]


def answers(made: Graph, feeds: list[Any]) -> list[list[Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(to_bytes(made), providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": row}) for row in feeds]


def assert_same(before: Graph, after: Graph, feeds: list[Any], *, exact: bool = False) -> None:
    for old, new in zip(answers(before, feeds), answers(after, feeds), strict=True):
        for a, b in zip(old, new, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            if exact or a.dtype.kind != "f":
                np.testing.assert_array_equal(a, b)
            else:
                np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


def floats(*shape: int) -> list[float]:
    return [float(value) for value in RANDOM.normal(0, 1, int(np.prod(shape)))]


FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
CASES: dict[str, tuple[Any, dict[str, int]]] = {
    "scaler by column": (ml("Scaler", ["y"], offset=floats(4), scale=floats(4)), {"y": FLOAT}),
    "scaler of one number": (ml("Scaler", ["y"], offset=[0.0], scale=[2.0]), {"y": FLOAT}),
    "normalizer L1": (ml("Normalizer", ["y"], norm="L1"), {"y": FLOAT}),
    "normalizer L2": (ml("Normalizer", ["y"], norm="L2"), {"y": FLOAT}),
    "regressor": (ml("LinearRegressor", ["y"], coefficients=floats(4), intercepts=[0.3]), {"y": FLOAT}),
    "regressor without intercept": (ml("LinearRegressor", ["y"], coefficients=floats(4)), {"y": FLOAT}),
    "two targets": (ml("LinearRegressor", ["y"], coefficients=floats(2, 4), intercepts=[0.3, 1.0], targets=2), {"y": FLOAT}),
    "svr": (
        ml(
            "SVMRegressor",
            ["y"],
            kernel_type="LINEAR",
            n_supports=3,
            coefficients=floats(3),
            support_vectors=floats(3, 4),
            rho=[0.4],
            kernel_params=[0.0, 0.0, 3.0],
        ),
        {"y": FLOAT},
    ),
    "svr of one row": (
        ml("SVMRegressor", ["y"], kernel_type="LINEAR", coefficients=floats(4), rho=[0.4], kernel_params=[0.0, 0.0, 3.0]),
        {"y": FLOAT},
    ),
    "binarizer": (ml("Binarizer", ["y"], threshold=0.5), {"y": FLOAT}),
    "imputer": (ml("Imputer", ["y"], imputed_value_floats=floats(4), replaced_value_float=float("nan")), {"y": FLOAT}),
    "imputer of zeros": (ml("Imputer", ["y"], imputed_value_floats=[7.0], replaced_value_float=0.0), {"y": FLOAT}),
    "vectorizer": (ml("FeatureVectorizer", ["y"], ("x", "x"), inputdimensions=[4, 4]), {"y": FLOAT}),
}
for ending in ("NONE", "SOFTMAX", "LOGISTIC"):
    for name, labels in (("", [0, 1, 2]), (" other labels", [5, 2, 9])):
        node = ml(
            "LinearClassifier",
            ["label", "y"],
            coefficients=floats(3, 4),
            intercepts=floats(3),
            classlabels_ints=labels,
            post_transform=ending,
        )
        CASES[f"classifier {ending}{name}"] = (node, {"label": INT64, "y": FLOAT})
CASES["one row, two classes"] = (
    ml("LinearClassifier", ["label", "y"], coefficients=floats(4), intercepts=[0.1], classlabels_ints=[0, 1], post_transform="LOGISTIC"),
    {"label": INT64, "y": FLOAT},
)


@pytest.mark.parametrize("name", CASES)
def test_an_operator_of_a_classic_model_becomes_plain_ones(name: str) -> None:
    node, outputs = CASES[name]
    before = graph([node], outputs)
    after = lower_ml(before)
    assert all(node.domain == "" for node in after.nodes)
    assert "ai.onnx.ml" not in after.domains
    feeds = rows()
    if "imputer" in name:
        feeds[3][0, 1] = np.nan
    assert_same(before, after, feeds)
    assert lower_ml(after) is after


def test_whole_numbers_are_taken_as_floats() -> None:
    before = graph([ml("Scaler", ["y"], offset=floats(4), scale=floats(4))], {"y": FLOAT}, dtype=INT64)
    assert_same(before, lower_ml(before), rows(dtype="int64"))


def test_columns_that_are_chosen_and_labels_that_are_looked_up() -> None:
    nodes = [
        ml("ArrayFeatureExtractor", ["some"], ("x", "chosen")),
        helper.make_node("ArgMax", ["some"], ["best"], axis=1, keepdims=0),
        ml("ArrayFeatureExtractor", ["labels"], ("classes", "best")),
    ]
    before = graph(nodes, {"some": FLOAT, "labels": INT64}, chosen=np.array([2, 0]), classes=np.array([70, 80]))
    after = lower_ml(before)
    assert [node.op_type for node in after.nodes] == ["Gather", "ArgMax", "Gather"]
    assert_same(before, after, rows())


@pytest.mark.parametrize(
    "node",
    [
        ml(
            "SVMRegressor", ["y"], kernel_type="RBF", n_supports=1, coefficients=[1.0], support_vectors=floats(4), kernel_params=[0.1, 0, 3]
        ),
        ml("Normalizer", ["y"], norm="MAX"),
        ml("LinearRegressor", ["y"], coefficients=floats(4), post_transform="PROBIT"),
    ],
    ids=lambda node: node.op_type,
)
def test_what_plain_operators_cannot_say_stays(node: Any) -> None:
    before = graph([node], {"y": FLOAT})
    assert lower_ml(before) is before


def test_a_scaled_linear_model_ends_as_one_dense_layer() -> None:
    nodes = [
        ml("Scaler", ["scaled"], offset=floats(4), scale=floats(4)),
        ml("LinearRegressor", ["y"], ("scaled",), coefficients=floats(4), intercepts=[1.0]),
    ]
    before = graph(nodes, {"y": FLOAT})
    after, _ = run_passes(before)
    assert all(node.op_type in ("Sub", "Mul", "Gemm") for node in after.nodes)
    assert_same(before, after, rows())


@pytest.mark.parametrize(("ending", "rows_of_weights"), [("SOFTMAX", 3), ("LOGISTIC", 2), ("LOGISTIC", 3)])
def test_shares_that_are_normalized_again_stay_as_they_are(ending: str, rows_of_weights: int) -> None:
    """As scikit-learn's logistic regression is exported."""
    weight = np.array(floats(rows_of_weights, 4)).reshape(rows_of_weights, 4)
    if rows_of_weights == 2:
        weight[0] = -weight[1]
    nodes = [
        ml(
            "LinearClassifier",
            ["label", "raw"],
            coefficients=weight.ravel().tolist(),
            intercepts=[0.5, -0.5, 0.25][:rows_of_weights],
            classlabels_ints=list(range(rows_of_weights)),
            post_transform=ending,
        ),
        ml("Normalizer", ["y"], ("raw",), norm="L1"),
    ]
    before = graph(nodes, {"label": INT64, "y": FLOAT})
    after = lower_ml(before)
    assert ("Identity" in [node.op_type for node in after.nodes]) == (ending == "SOFTMAX" or rows_of_weights == 2)
    assert_same(before, after, rows())


def forest(kind: str, trees: int, depth: int, classes: int, missing: bool = False) -> Any:
    """Full trees with thresholds and leaves of few kinds, so that there is something to share."""
    tables: dict[str, list[Any]] = {f"nodes_{key}": [] for key in ("treeids", "nodeids", "modes", "featureids", "values")}
    tables |= {"nodes_truenodeids": [], "nodes_falsenodeids": [], "nodes_missing_value_tracks_true": []}
    leaves: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        for i in range(2 ** (depth + 1) - 1):
            leaf = i >= 2**depth - 1
            row = [tree, i, "LEAF" if leaf else "BRANCH_LEQ", int(RANDOM.integers(4)), float(RANDOM.choice([-1.5, -0.25, 0.1, 1.0]))]
            row += [0, 0] if leaf else [2 * i + 1, 2 * i + 2]
            for key, value in zip(tables, [*row, int(missing and RANDOM.integers(2))], strict=True):
                tables[key].append(value)
            if leaf:
                hot = int(RANDOM.integers(classes))
                for number in range(classes):
                    leaves["treeids"].append(tree)
                    leaves["nodeids"].append(i)
                    leaves["ids"].append(number)
                    leaves["weights"].append(float(number == hot) / trees if classes > 1 else float(RANDOM.choice([0.1, 0.7, -0.3])))
    role = "class" if kind == "TreeEnsembleClassifier" else "target"
    attributes = {**tables, **{f"{role}_{key}": values for key, values in leaves.items()}}
    if role == "class":
        return ml(kind, ["label", "y"], classlabels_int64s=list(range(classes)), post_transform="NONE", **attributes)
    return ml(kind, ["y"], n_targets=classes, **attributes)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(("kind", "classes"), [("TreeEnsembleClassifier", 3), ("TreeEnsembleClassifier", 2), ("TreeEnsembleRegressor", 1)])
def test_a_forest_becomes_smaller_and_answers_the_same_to_the_bit(kind: str, classes: int, missing: bool) -> None:
    outputs = {"label": INT64, "y": FLOAT} if "Classifier" in kind else {"y": FLOAT}
    before = graph([forest(kind, 8, 6, classes, missing)], outputs)
    after = merge_trees(before)
    feeds = rows(200)
    for row in feeds[::3]:
        row[0, RANDOM.integers(4)] = np.nan
    assert_same(before, after, feeds, exact=True)
    assert len(to_bytes(after)) < (0.6 if classes == 3 else 0.7) * len(to_bytes(before))
    assert merge_trees(after) is after


def test_tests_that_decide_nothing_and_nodes_that_nothing_leads_to_go() -> None:
    node = ml(
        "TreeEnsembleRegressor",
        ["y"],
        n_targets=1,
        nodes_treeids=[0] * 6,
        nodes_nodeids=[0, 1, 2, 3, 4, 5],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "LEAF"],
        nodes_featureids=[0, 1, 0, 0, 0, 0],
        nodes_values=[0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 3, 0, 0, 0, 0],
        nodes_falsenodeids=[2, 4, 0, 0, 0, 0],
        target_treeids=[0, 0, 0],
        target_nodeids=[2, 3, 4],
        target_ids=[0, 0, 0],
        target_weights=[5.0, 2.0, 2.0],
    )
    before = graph([node], {"y": FLOAT})
    after = merge_trees(before)
    modes = next(a for a in after.nodes[0].attribute if a.name == "nodes_modes")
    assert list(modes.strings) == [b"BRANCH_LEQ", b"LEAF", b"LEAF"]
    reference = [[np.float32(2.0 if row[0, 0] <= 0 else 5.0)] for row in rows()]
    assert {float(value[0]) for value in reference} == {2.0, 5.0}
    for row, (result,) in zip(feeds := rows(), answers(after, feeds), strict=True):
        assert result.item() == (2.0 if row[0, 0] <= 0 else 5.0)


def test_negative_votes_keep_their_zeros() -> None:
    """A class that was never added to cannot win in ONNX Runtime, even against a negative sum."""
    before = graph([_negative()], {"label": INT64, "y": FLOAT})
    after = merge_trees(before)
    assert_same(before, after, rows(), exact=True)


def _negative() -> Any:
    return ml(
        "TreeEnsembleClassifier",
        ["label", "y"],
        classlabels_int64s=[0, 1, 2],
        post_transform="NONE",
        nodes_treeids=[0] * 5,
        nodes_nodeids=[0, 1, 2, 3, 4],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
        nodes_featureids=[0, 1, 0, 0, 0],
        nodes_values=[0.0, 0.0, 0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 3, 0, 0, 0],
        nodes_falsenodeids=[2, 4, 0, 0, 0],
        class_treeids=[0] * 9,
        class_nodeids=[2, 2, 2, 3, 3, 3, 4, 4, 4],
        class_ids=[0, 1, 2] * 3,
        class_weights=[-1.0, 0.0, -2.0, -1.0, 0.0, -2.0, 0.5, 0.0, 0.1],
    )


def test_a_tree_that_runs_in_a_circle_is_left_as_it_is() -> None:
    node = forest("TreeEnsembleRegressor", 1, 2, 1)
    for attribute in node.attribute:
        if attribute.name == "nodes_truenodeids":
            attribute.ints[1] = 0
    before = graph([node], {"y": FLOAT})
    assert merge_trees(before) is before


def test_published_forest_halves(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    assets = Path(os.environ.get("EDGE_ASSETS_DIR", root.parent / "shared" / "assets")) / "07_tabular_sklearn"
    if not (assets / "wine_rf_nozipmap.onnx").is_file():
        pytest.skip(f"{assets} is not there; set EDGE_ASSETS_DIR")
    import onnx

    before = graph_of(onnx.load(str(assets / "wine_rf_nozipmap.onnx")))
    assert len(to_bytes(merge_trees(before))) < len(to_bytes(before)) / 2
