"""Published models with real data through the whole engine, where a folder of them is at hand (``EDGE_ASSETS``, ``../shared/assets``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.assets.case import Case
from benchmarks.assets.harm import harm
from benchmarks.assets.measure import CASES, HARM_DEADLINE_MS, assets_folder, case_rows, lines
from benchmarks.assets.stand import Stand, stand

pytestmark = pytest.mark.assets

ROOT = assets_folder()
ALL = "EDGE_ASSETS_ALL"


@pytest.fixture(scope="module")
def on() -> Iterator[Stand]:
    with stand() as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder)
def test_every_asset_keeps_its_figures_through_the_engine(case: Case, on: Stand) -> None:
    if not (ROOT / case.folder).is_dir():
        pytest.skip(f"{ROOT / case.folder} is not there; set EDGE_ASSETS")
    if not case.quick and not os.environ.get(ALL):
        pytest.skip(f"takes longer; set {ALL}=1")
    pytest.importorskip("PIL", reason="Pillow is not installed, which the checks read pictures with")
    rows = case_rows(case, ROOT, on)
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_harmful_models_take_down_only_their_own_workers() -> None:
    with stand(HARM_DEADLINE_MS) as made:
        told = harm(made, ROOT)
    said = {each.model: each.said for each in told}
    assert [each for each in told if each.lost or not each.answered] == []
    assert said["crashing.onnx"] == "answered"
    assert any(
        words in said["hanging.onnx"] for words in ("no answer within", "quarantined")
    )  # the deadline or the second death came first
    assert "refuses it" in said["cut.onnx"]


def test_a_folder_that_is_not_there_is_said() -> None:
    assert lines({"absent": str(Path("/nowhere"))}) == ["  /nowhere is not there: give --assets FOLDER or set EDGE_ASSETS"]
