"""docs/steps.md says what the code does: every step, every argument, every form of boxes, every limit."""

from __future__ import annotations

import re
from pathlib import Path

from edge_agent.pipeline import anchors, memories, resampling, stage, steps_boxes, steps_signal, steps_values
from edge_agent.pipeline.postprocess import POSTPROCESS_OPS
from edge_agent.pipeline.preprocess import PREPROCESS_OPS

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "steps.md").read_text(encoding="utf-8")
SOURCES = ("steps_values", "steps_shape", "steps_image", "steps_signal", "steps_boxes", "anchors", "postprocess_plan")
READ = re.compile(
    r'args\.(?:number|numbers|narrow|positive|share|whole|wholes|size|table|tables|row|text|texts|choice|flag|has)\(\s*"(\w+)"'
)


def test_every_step_and_every_form_has_a_row() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| `")]
    for word in (*PREPROCESS_OPS, *POSTPROCESS_OPS, *steps_boxes.BOX_KINDS):
        assert any(f"`{word}`" in row.split("|")[1] for row in rows), word


def test_every_argument_is_named() -> None:
    read = {key for source in SOURCES for key in READ.findall((ROOT / "edge_agent" / "pipeline" / f"{source}.py").read_text())}
    assert len(read) > 50
    missing = sorted(key for key in read if f"`{key}`" not in DOCUMENT)
    assert not missing


def test_the_limits_are_those_of_the_code() -> None:
    limits = DOCUMENT.split("## Limits")[1]
    numbers = {int(number) for number in re.findall(r"\b\d{2,}\b", limits)} | {2**24, 2**22, 2**20}
    for limit in (
        *(stage.MAX_VALUES, resampling.MAX_SIDE, steps_signal.MAX_TRANSFORM, steps_signal.MAX_BANDS, steps_signal.MAX_FRAMED),
        *(steps_values.MAX_CLASSES, memories.MAX_WINDOWS, memories.MAX_REMEMBERED),
        *(anchors.MAX_ANCHORS, anchors.MAX_MAPS, anchors.MAX_SHAPES, steps_boxes.MAX_BOXES),
    ):
        assert limit in numbers, limit
