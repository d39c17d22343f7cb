"""PMML that was made to do harm, or was damaged: a reason with its line, quickly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.loaders.pmml import onnx_of
from converters.loaders.pmml_xml import MAX_DEPTH, RefusedElement, parse_xml

SMALL = [
    path.read_bytes() for path in sorted((Path(__file__).parent / "pmml").glob("*.pmml")) if path.stem in ("tree", "network", "binary")
]

BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><PMML version="4.4">&b;</PMML>"""
OUTSIDE = b"""<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]><PMML version="4.4">&x;</PMML>"""


@pytest.mark.parametrize("data", [BOMB, OUTSIDE], ids=["entities", "outside file"])
def test_document_types_are_refused(data: bytes) -> None:
    with pytest.raises(RefusedElement, match="line 1: DOCTYPE"):
        parse_xml(data)


def test_elements_nested_without_end_are_refused() -> None:
    with pytest.raises(RefusedElement, match=f"nested more than {MAX_DEPTH} deep"):
        parse_xml(b"<a>" * 100_000)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no element found"),
        (b"<PMML", "unclosed token"),
        (b"<PMML version='4.4'/>", "holds 0 models"),
        (b"<PMML version='2.0'/>", "'2.0' is not taken over"),
        (b"<html/>", "is not PMML"),
        (b"<?xml version='1.0' encoding='klingon'?><PMML/>", "encoding"),
    ],
)
def test_what_is_no_pmml_is_told(data: bytes, why: str) -> None:
    with pytest.raises(RefusedElement, match=why):
        onnx_of(data)


def test_functions_that_call_each_other_twofold_are_bounded() -> None:
    """Forty functions, each adding two calls of the one before it, would ask for 2^40 operations."""
    step = '<DefineFunction name="f{0}"><ParameterField name="v"/>\n<Apply function="*">{1}{1}</Apply></DefineFunction>'
    functions = '<DefineFunction name="f0"><ParameterField name="v"/><FieldRef field="v"/></DefineFunction>\n'
    for i in range(1, 40):
        functions += step.format(i, f'<Apply function="f{i - 1}"><FieldRef field="v"/></Apply>') + "\n"
    model = f"""<PMML version="4.4"><DataDictionary><DataField name="a"/></DataDictionary><TransformationDictionary>{functions}
    <DerivedField name="d"><Apply function="f39"><FieldRef field="a"/></Apply></DerivedField></TransformationDictionary>
    <RegressionModel functionName="regression"><MiningSchema><MiningField name="a"/></MiningSchema><RegressionTable intercept="1">
    <NumericPredictor name="d" coefficient="1"/></RegressionTable></RegressionModel></PMML>"""
    with pytest.raises(RefusedElement, match="operations"):
        onnx_of(model.encode())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SMALL), st.data())
def test_damaged_documents_are_read_or_refused(original: bytes, data: st.DataObject) -> None:
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        kind = data.draw(st.sampled_from(["change", "cut", "repeat", "word"]))
        if kind == "change":
            damaged[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del damaged[at : at + data.draw(st.integers(1, 40))]
        elif kind == "repeat":
            damaged[at:at] = damaged[at : at + data.draw(st.integers(1, 200))]
        else:
            damaged[at:at] = data.draw(st.sampled_from([b"-1e999", b"nan", b'"', b"<Node/>", b"<True/>", b"9" * 500, b"sum", b"</Node>"]))
    try:
        model, _ = onnx_of(bytes(damaged))
    except RefusedElement as refused:
        assert str(refused).startswith("line ")
    else:
        assert model
