"""A prediction as a line: JSON exactly as the library writes it, CSV that a reader takes apart again, one label a line."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from made_predictions import prediction

from edge_agent.sinks.lines import csv_line, json_line, json_tree, label_line
from edge_agent.values import Box, Prediction, StageTimes, StageVerdict

numbers = st.floats() | st.integers(-(2**70), 2**70)
texts = st.text()
predictions = st.builds(
    Prediction,
    pipeline=texts,
    model=texts,
    version=texts,
    window_seq=st.integers(0),
    first_seq=st.integers(0),
    last_seq=st.integers(0),
    t_ns=st.integers(),
    label=st.none() | texts,
    score=st.none() | numbers,
    scores=st.lists(numbers, max_size=6).map(tuple),
    times=st.builds(StageTimes, numbers, numbers, numbers, numbers, numbers, numbers),
    expected=st.none() | st.integers(),
    boxes=st.lists(st.from_type(Box), max_size=2).map(tuple),
    before=st.lists(st.builds(StageVerdict, texts, texts, st.none() | texts, st.none() | st.floats()), max_size=2).map(tuple),
)


def reference(value: Any) -> Any:
    """The same tree, with null for what JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: reference(item) for key, item in value.items()}
    return [reference(item) for item in value] if isinstance(value, tuple) else value


@given(predictions)
def test_json_is_exactly_what_the_library_writes(made: Prediction) -> None:
    expected = json.dumps(reference(asdict(made)), separators=(",", ":"), allow_nan=False)
    assert json_line(made) == expected.encode() + b"\n"


@given(predictions)
def test_the_tree_is_exactly_what_the_library_makes(made: Prediction) -> None:
    assert repr(json_tree(made)) == repr(asdict(made))


def test_scores_of_a_numpy_type_are_written_as_numbers() -> None:
    numpy = __import__("numpy")
    made = prediction(score=numpy.float64(0.5), scores=tuple(numpy.array([0.5, 0.25])))
    assert json.loads(json_line(made))["scores"] == [0.5, 0.25]


@given(predictions)
def test_csv_can_be_read_back(made: Prediction) -> None:
    line = csv_line(made)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    [row] = csv.reader(io.StringIO(line.decode(), newline=""), strict=True)
    assert (int(row[0]), int(row[1])) == (made.window_seq, made.t_ns)
    assert len(row) == 4 + len(made.scores)
    for text, score in zip(row[3:], (made.score, *made.scores), strict=True):
        assert text == "" if score is None or not math.isfinite(score) else float(text) == float(score)


def test_a_label_with_commas_and_quotes_stays_one_field() -> None:
    [row] = csv.reader([csv_line(prediction(label='a,"b"\nc')).decode()])
    assert row[2] == 'a,"b" c'


@given(predictions)
def test_a_label_is_one_line(made: Prediction) -> None:
    line = label_line(made)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and b"\r" not in line


def test_a_model_without_labels_shows_its_score() -> None:
    assert label_line(prediction(label=None, score=0.5)) == b"0.5\n"
    assert label_line(prediction()) == b"ok\n"
