"""The published table of operators is the converter's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from operator_nets import FORMS as NETS
from tiny_nets import NETS as TINY
from tiny_nets import make

from converters import coverage
from converters.passes.for_tflite import expanded
from converters.passes.run import run_passes
from converters.targets.tflite_ops.forms import FORMS
from converters.targets.tflite_ops.table import FLOAT_ONLY, LOWERINGS, SAME_SCALE


def test_the_published_table_is_current() -> None:
    assert coverage.FILE.read_text() == coverage.table()


def test_a_stale_table_is_told_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(coverage, "FILE", tmp_path / "operators.md")
    assert coverage.main(["--check"]) == 1
    assert "run python -m converters.coverage" in capsys.readouterr().out
    assert coverage.main([]) == 0
    assert coverage.main(["--check"]) == 0


def test_what_is_said_of_operators_is_said_of_ones_that_are_written() -> None:
    assert set(FORMS) <= coverage.operators()
    assert set(LOWERINGS) >= FLOAT_ONLY
    assert set(SAME_SCALE) <= set(LOWERINGS)


def test_every_operator_that_is_written_has_a_network_in_the_tests() -> None:
    graphs = [run_passes(form.graph())[0] for form in NETS.values()] + [run_passes(make(name)[0])[0] for name in TINY]
    tried = {node.op_type for graph in graphs for node in (*graph.nodes, *expanded(graph).nodes)}
    gone = {"Dropout", "Identity"}  # taken out before, but as outputs
    assert set(LOWERINGS) - gone <= tried
