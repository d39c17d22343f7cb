"""PMML of real models gives the answers of the models; every element is read as the specification says, or refused by its line."""

# ruff: noqa: E501 - XML reads best as it stands

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from pmml_reference import predict

from converters.errors import InputError
from converters.loaders.pmml import onnx_of, translate_pmml
from converters.translate import Asked

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

MODELS = sorted((Path(__file__).parent / "pmml").glob("*.pmml"))
FIELDS = """<DataDictionary>
<DataField name="a" optype="continuous" dataType="double"/>
<DataField name="b" optype="continuous" dataType="double"/>
<DataField name="k" optype="categorical" dataType="integer"/>
<DataField name="c" optype="categorical" dataType="string"><Value value="red"/><Value value="deep blue"/><Value value="green"/></DataField>
<DataField name="y" optype="continuous" dataType="double"/>
<DataField name="t" optype="categorical" dataType="string"><Value value="no"/><Value value="yes"/></DataField>
</DataDictionary>"""


def schema(target: str = "y", **more: str) -> str:
    fields = "".join(f'<MiningField name="{name}" {more.get(name, "")}/>' for name in ("a", "b", "k", "c"))
    return f'<MiningSchema><MiningField name="{target}" usageType="target"/>{fields}</MiningSchema>'


def document(model: str, before: str = "") -> bytes:
    return f'<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">{FIELDS}{before}{model}</PMML>'.encode()


def answers(data: bytes, rows: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_of(data)[0], providers=["CPUExecutionProvider"])
    return np.array([session.run(None, {"x": np.asarray([row], np.float32)})[0][0] for row in rows])


def asked(model: Path, folder: Path) -> Any:
    return translate_pmml(Asked(str(model)), folder, lambda text: None)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_real_model_gives_its_own_answers(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    got, want = answers(path.read_bytes(), expected["x"]), np.array(expected["scores"])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    if expected["classes"]:
        assert got.argmax(axis=1).tolist() == want.argmax(axis=1).tolist()
        assert onnx_of(path.read_bytes())[1][-1].endswith(": " + ", ".join(expected["classes"]))


def test_a_translation_names_the_file_and_says_what_to_send(tmp_path: Path) -> None:
    path = next(path for path in MODELS if path.stem == "tree")
    made = asked(path, tmp_path)
    assert (made.path, made.bytes, made.origin) == (path, path.stat().st_size, "pmml")
    assert "in this order: sl, sw, pl, pw" in made.notes[0]
    assert made.file.read_bytes() == asked(path, tmp_path).file.read_bytes()


def predicate(draw: random.Random, depth: int = 0) -> str:
    kind = draw.choice(["simple", "simple", "missing", "set", "compound"] if depth < 2 else ["simple", "set"])
    if kind == "compound":
        inner = "".join(predicate(draw, depth + 1) for _ in range(draw.randint(2, 3)))
        return f'<CompoundPredicate booleanOperator="{draw.choice(["and", "or", "xor", "surrogate"])}">{inner}</CompoundPredicate>'
    if kind == "missing":
        return f'<SimplePredicate field="{draw.choice("abk")}" operator="{draw.choice(["isMissing", "isNotMissing"])}"/>'
    if kind == "set":
        words = " ".join(str(number) for number in draw.sample(range(5), draw.randint(1, 3)))
        return f'<SimpleSetPredicate field="k" booleanOperator="{draw.choice(["isIn", "isNotIn"])}"><Array type="int">{words}</Array></SimpleSetPredicate>'
    field = draw.choice("abk")
    words = ["equal", "notEqual", "lessThan", "lessOrEqual", "greaterThan", "greaterOrEqual"]
    operator = draw.choice(words)
    # 0.1 is no float32: what is smaller than it is tested here; what is equal to it is the float32 next to it.
    numbers = [-1, -0.5, 0, 1] if "qual" in operator and "Or" not in operator else [-1, -0.5, 0, 0.1, 0.3, 1]
    value = draw.randint(0, 4) if field == "k" else draw.choice(numbers)
    return f'<SimplePredicate field="{field}" operator="{operator}" value="{value}"/>'


def nodes(draw: random.Random, name: str, condition: str, depth: int) -> str:
    count = draw.randint(2, 3) if depth < 4 else 0
    inner = "".join(nodes(draw, f"{name}.{i}", predicate(draw), depth + 1) for i in range(count))
    default = f' defaultChild="{name}.{draw.randrange(count)}"' if count and draw.random() < 0.8 else ""
    score = f' score="{draw.randint(-99, 99)}"' if not count or draw.random() < 0.9 else ""
    return f'<Node id="{name}"{score}{default}>{condition}{inner}</Node>'


@pytest.mark.parametrize("strategy", ["none", "defaultChild", "lastPrediction", "nullPrediction"])
@pytest.mark.parametrize("seed", range(5))
def test_random_trees_are_read_as_the_specification_says(strategy: str, seed: int) -> None:
    draw = random.Random(f"{strategy}{seed}")
    ending = draw.choice(["returnNullPrediction", "returnLastPrediction"])
    attributes = f'functionName="regression" missingValueStrategy="{strategy}" noTrueChildStrategy="{ending}"'
    body = nodes(draw, "n", "<True/>", 0)
    reference = ElementTree.fromstring(f"<TreeModel {attributes}>{body}</TreeModel>")
    rows = []
    for _ in range(80):
        row = [draw.choice([-2.0, -1.0, -0.5, 0.0, float(np.float32(0.1)), 0.2, 0.3, 1.0]) for _ in "ab"]
        row += [float(draw.randint(0, 5)), 0.0]
        rows.append([math.nan if i < 3 and draw.random() < 0.2 else float(np.float32(value)) for i, value in enumerate(row)])
    got = answers(document(f"<TreeModel {attributes}>{schema()}{body}</TreeModel>"), rows)[:, 0]
    want = [
        predict(reference, {name: None if math.isnan(value) else value for name, value in zip("abkc", row, strict=True)}) for row in rows
    ]
    np.testing.assert_array_equal(got, np.array(want, np.float32))


def regression(method: str, tables: str, function: str = "classification") -> bytes:
    target = "t" if function == "classification" else "y"
    return document(f'<RegressionModel functionName="{function}" normalizationMethod="{method}">{schema(target)}{tables}</RegressionModel>')


TABLES = """<RegressionTable targetCategory="yes" intercept="0.2"><NumericPredictor name="a" coefficient="0.5"/>
<NumericPredictor name="b" coefficient="-0.3" exponent="2"/><CategoricalPredictor name="c" value="deep blue" coefficient="0.7"/>
<PredictorTerm coefficient="0.1"><FieldRef field="a"/><FieldRef field="b"/></PredictorTerm></RegressionTable>
<RegressionTable targetCategory="no" intercept="0.1"/>"""
ROWS = [[0.5, -1.0, 0, 1], [-1.5, 0.25, 0, 0], [2.0, 1.0, 3, 2], [0.0, 0.0, 0, 1]]


def linear(row: list[float]) -> float:
    a, b, _, c = row
    return 0.2 + 0.5 * a - 0.3 * b * b + 0.7 * (c == 1) + 0.1 * a * b


INVERSE = {
    "none": lambda v: v,
    "logit": lambda v: 1 / (1 + math.exp(-v)),
    "probit": lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))),
    "cloglog": lambda v: 1 - math.exp(-math.exp(v)),
    "loglog": lambda v: math.exp(-math.exp(-v)),
    "cauchit": lambda v: 0.5 + math.atan(v) / math.pi,
    "exp": math.exp,
}


@pytest.mark.parametrize("method", ["none", "logit", "probit", "cloglog", "loglog", "cauchit", "softmax", "simplemax"])
def test_two_classes_by_regression(method: str) -> None:
    got = answers(regression(method, TABLES), ROWS)
    for (no, yes), row in zip(got, ROWS, strict=True):
        value = linear(row)
        if method == "softmax":
            want = math.exp(value) / (math.exp(value) + math.exp(0.1))
        elif method == "simplemax":
            want = value / (value + 0.1)
        else:
            want = INVERSE[method](value)
        assert yes == pytest.approx(want, abs=1e-5)
        assert no == pytest.approx(1 - want, abs=1e-5)


@pytest.mark.parametrize("method", INVERSE)
def test_one_number_by_regression(method: str) -> None:
    got = answers(regression(method, TABLES.split('<RegressionTable targetCategory="no"')[0], "regression"), ROWS)
    np.testing.assert_allclose(got[:, 0], [INVERSE[method](linear(row)) for row in ROWS], rtol=1e-5, atol=1e-6)


ACTIVATIONS = {
    "logistic": lambda v: 1 / (1 + np.exp(-v)),
    "tanh": np.tanh,
    "identity": lambda v: v,
    "rectifier": lambda v: np.maximum(v, 0),
    "exponential": np.exp,
    "reciprocal": lambda v: 1 / v,
    "square": np.square,
    "Gauss": lambda v: np.exp(-v * v),
    "sine": np.sin,
    "cosine": np.cos,
    "Elliott": lambda v: v / (1 + np.abs(v)),
    "arctan": lambda v: 2 * np.arctan(v) / math.pi,
    "threshold": lambda v: (v > 0.1).astype(float),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_network_with_a_connection_past_a_layer(name: str) -> None:
    model = f"""<NeuralNetwork functionName="regression" activationFunction="{name}" threshold="0.1">{schema()}
    <NeuralInputs><NeuralInput id="0"><DerivedField><NormContinuous field="a"><LinearNorm orig="1" norm="0"/><LinearNorm orig="3" norm="1"/>
    </NormContinuous></DerivedField></NeuralInput><NeuralInput id="1"><DerivedField><NormDiscrete field="c" value="green"/></DerivedField></NeuralInput></NeuralInputs>
    <NeuralLayer><Neuron id="2" bias="0.3"><Con from="0" weight="0.5"/><Con from="1" weight="-1"/></Neuron>
    <Neuron id="3" bias="-0.2"><Con from="1" weight="2"/></Neuron></NeuralLayer>
    <NeuralLayer activationFunction="identity"><Neuron id="4" bias="1"><Con from="2" weight="1.5"/><Con from="3" weight="-0.5"/><Con from="0" weight="0.25"/>
    </Neuron></NeuralLayer><NeuralOutputs><NeuralOutput outputNeuron="4"><DerivedField><NormContinuous field="y"><LinearNorm orig="10" norm="0"/>
    <LinearNorm orig="14" norm="1"/></NormContinuous></DerivedField></NeuralOutput></NeuralOutputs></NeuralNetwork>"""
    got = answers(document(model), ROWS)[:, 0]
    for value, (a, _, _, c) in zip(got, ROWS, strict=True):
        first, second = (a - 1) / 2, float(c == 2)
        hidden = ACTIVATIONS[name](np.array([0.3 + 0.5 * first - second, -0.2 + 2 * second]))
        want = 10 + 4 * (1 + 1.5 * hidden[0] - 0.5 * hidden[1] + 0.25 * first)
        assert value == pytest.approx(want, rel=1e-4, abs=1e-4)


EXPRESSIONS = {
    '<Apply function="/"><Apply function="-"><FieldRef field="a"/><Constant>2</Constant></Apply><Constant>4</Constant></Apply>': lambda a, b: (
        (a - 2) / 4
    ),
    '<Apply function="-"><Constant>2</Constant><FieldRef field="a"/></Apply>': lambda a, b: 2 - a,
    '<Apply function="*"><FieldRef field="a"/><FieldRef field="b"/></Apply>': lambda a, b: a * b,
    '<Apply function="max"><FieldRef field="a"/><FieldRef field="b"/><Constant>0.1</Constant></Apply>': lambda a, b: max(a, b, 0.1),
    '<Apply function="if"><Apply function="and"><Apply function="greaterThan"><FieldRef field="a"/><Constant>0</Constant></Apply>'
    '<Apply function="notEqual"><FieldRef field="c"/><Constant>green</Constant></Apply></Apply><FieldRef field="b"/><Constant>7</Constant></Apply>': (
        lambda a, b: b if a == 0.5 else 7
    ),
    '<Apply function="twice"><FieldRef field="a"/></Apply>': lambda a, b: 2 * a,
    '<NormContinuous field="a"><LinearNorm orig="-1" norm="0"/><LinearNorm orig="0" norm="1"/><LinearNorm orig="1" norm="4"/></NormContinuous>': (
        lambda a, b: a + 1 if a < 0 else 1 + 3 * a
    ),
    '<NormContinuous field="a" outliers="asExtremeValues"><LinearNorm orig="-1" norm="0"/><LinearNorm orig="1" norm="2"/></NormContinuous>': (
        lambda a, b: min(max(a, -1), 1) + 1
    ),
    '<Discretize field="a" defaultValue="9"><DiscretizeBin binValue="1"><Interval closure="openClosed" rightMargin="0"/></DiscretizeBin>'
    '<DiscretizeBin binValue="2"><Interval closure="openOpen" leftMargin="0" rightMargin="2"/></DiscretizeBin></Discretize>': (
        lambda a, b: 1 if a <= 0 else 2 if a < 2 else 9
    ),
}


@pytest.mark.parametrize("text", EXPRESSIONS, ids=range(len(EXPRESSIONS)))
def test_derived_fields(text: str) -> None:
    functions = """<TransformationDictionary><DefineFunction name="twice" optype="continuous"><ParameterField name="v"/>
    <Apply function="*"><FieldRef field="v"/><Constant>2</Constant></Apply></DefineFunction></TransformationDictionary>"""
    model = f"""<RegressionModel functionName="regression">{schema()}<LocalTransformations><DerivedField name="d" optype="continuous" dataType="double">
    {text}</DerivedField></LocalTransformations><RegressionTable intercept="1"><NumericPredictor name="d" coefficient="1"/></RegressionTable></RegressionModel>"""
    got = answers(document(model, functions), ROWS)[:, 0]
    np.testing.assert_allclose(got, [1 + EXPRESSIONS[text](a, b) for a, b, _, _ in ROWS], rtol=1e-5, atol=1e-6)


def test_missing_values_and_outliers_are_replaced_before_the_model() -> None:
    held = schema(a='missingValueReplacement="3"', b='outliers="asExtremeValues" lowValue="-1" highValue="1"')
    model = f"""<RegressionModel functionName="regression">{held}<RegressionTable intercept="0"><NumericPredictor name="a" coefficient="1"/>
    <NumericPredictor name="b" coefficient="10"/></RegressionTable><Targets><Target rescaleFactor="2" rescaleConstant="1" castInteger="round"/></Targets></RegressionModel>"""
    got = answers(document(model), [[math.nan, 5, 0, 0], [1.2, -5, 0, 0], [1, 0.25, 0, 0]])[:, 0]
    assert got.tolist() == [27, -17, 8]  # round(3 * 2 + 10 * 2 + 1), ...; the tree sees 1 of 5 and -1 of -5


def stump(score: tuple[str, str], limit: float) -> str:
    return f"""<TreeModel functionName="classification">{schema("t")}<Node><True/><Node score="{score[0]}">
    <SimplePredicate field="a" operator="lessThan" value="{limit}"/></Node><Node score="{score[1]}"><True/></Node></Node></TreeModel>"""


@pytest.mark.parametrize(
    ("method", "want"), [("majorityVote", 2 / 3), ("weightedMajorityVote", 1 / 6), ("average", 2 / 3), ("weightedAverage", 1 / 6)]
)
def test_votes_of_a_forest(method: str, want: float) -> None:
    trees = [stump(("yes", "no"), 1.0), stump(("yes", "no"), 2.0), stump(("no", "yes"), 3.0)]
    parts = "".join(f'<Segment weight="{weight}"><True/>{tree}</Segment>' for weight, tree in zip((0.5, 0.5, 5), trees, strict=True))
    model = f'<MiningModel functionName="classification">{schema("t")}<Segmentation multipleModelMethod="{method}">{parts}</Segmentation></MiningModel>'
    assert answers(document(model), [[0.0, 0, 0, 0]])[0, 1] == pytest.approx(want)


REFUSED = {
    "this kind of model": '<AssociationModel functionName="associationRules"/>',
    "aggregateNodes": f'<TreeModel functionName="regression" missingValueStrategy="aggregateNodes">{schema()}<Node score="1"><True/></Node></TreeModel>',
    "field 'z' is not among": f"""<TreeModel functionName="regression">{schema()}<Node score="1"><True/><Node score="2">
    <SimplePredicate field="z" operator="equal" value="1"/></Node></Node></TreeModel>""",
    "'pink' is not among the declared": f"""<TreeModel functionName="regression">{schema()}<Node score="1"><True/><Node score="2">
    <SimplePredicate field="c" operator="equal" value="pink"/></Node></Node></TreeModel>""",
    "is not a number": f'<TreeModel functionName="regression">{schema()}<Node score="1_0"><True/></Node></TreeModel>',
    "applies to some samples only": f"""<MiningModel functionName="regression">{schema()}<Segmentation multipleModelMethod="sum"><Segment>
    <SimplePredicate field="a" operator="lessThan" value="1"/><TreeModel functionName="regression">{schema()}<Node score="1"><True/></Node></TreeModel>
    </Segment></Segmentation></MiningModel>""",
    "radialBasis": f"""<NeuralNetwork functionName="regression" activationFunction="radialBasis">{schema()}<NeuralInputs><NeuralInput id="0">
    <DerivedField><FieldRef field="a"/></DerivedField></NeuralInput></NeuralInputs><NeuralLayer><Neuron id="1"><Con from="0" weight="1"/></Neuron>
    </NeuralLayer><NeuralOutputs><NeuralOutput outputNeuron="1"><DerivedField><FieldRef field="y"/></DerivedField></NeuralOutput></NeuralOutputs></NeuralNetwork>""",
    "this expression is not": f"""<RegressionModel functionName="regression">{schema()}<LocalTransformations><DerivedField name="d"><TextIndex/></DerivedField>
    </LocalTransformations><RegressionTable intercept="1"/></RegressionModel>""",
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_not_taken_over_is_refused_by_line_and_name(why: str, tmp_path: Path) -> None:
    path = tmp_path / "m.pmml"
    path.write_bytes(document(REFUSED[why]))
    with pytest.raises(InputError, match=rf"m\.pmml: line \d+: \w+.*{why}"):
        asked(path, tmp_path)
