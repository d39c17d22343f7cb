"""Lines and payloads to readings: numbers only, or garbage."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.framing import Reading, choose_framing, read_csv, read_json


@pytest.mark.parametrize(
    ("record", "values"),
    [(b"1,2.5,-3e2", (1, 2.5, -300)), (b" 1 , 2 ", (1, 2)), (b"7", (7,)), (b"inf,-inf", (math.inf, -math.inf))],
)
def test_csv_numbers(record: bytes, values: tuple[float, ...]) -> None:
    assert read_csv(record) == Reading(values)


@pytest.mark.parametrize(
    "record", [b"", b",", b"1,,2", b"1,2,", b"a,b", b"1;2", b"1_000,2", b"\xff\xfe", "١,٢".encode(), b"0x10", b"boot v1.2"]
)
def test_csv_garbage(record: bytes) -> None:
    assert read_csv(record) is None


@pytest.mark.parametrize(
    ("record", "values"),
    [(b"[1, 2.5]", (1, 2.5)), (b'{"values": [3]}', (3,)), (b'{"values": [3], "other": "x"}', (3,))],
)
def test_json_numbers(record: bytes, values: tuple[float, ...]) -> None:
    assert read_json(record) == Reading(values)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[",
        b"[]",
        b"{}",
        b"3",
        b"null",
        b'"1"',
        b"[true]",
        b"[null]",
        b"[[1]]",
        b'["1"]',
        b'{"values": 3}',
        b'{"values": [1], "label": "a"}',
        b'{"values": [1], "label": 1.5}',
        b"[" * 50_000,
        b"[1" + b"0" * 400 + b"]",
        b"\xff",
    ],
)
def test_json_garbage(record: bytes) -> None:
    assert read_json(record) is None


def test_fields_choose_and_count() -> None:
    assert read_json(b'{"t": 20.5, "h": 40, "id": "x"}', ("h", "t")) == Reading((40, 20.5))
    assert read_json(b'{"t": 20.5}', ("h", "t")) is None
    assert read_json(b"[1, 2]", ("h", "t")) == Reading((1, 2))
    assert read_json(b"[1, 2, 3]", ("h", "t")) is None
    assert read_csv(b"1,2", ("h", "t")) == Reading((1, 2))
    assert read_csv(b"1", ("h", "t")) is None


def test_labels_are_whole_numbers_beside_the_values() -> None:
    assert read_json(b'{"values": [1, 2], "label": 7}') == Reading((1, 2), 7)
    assert read_json(b'{"a": 1, "label": 7}', ("a", "label")) == Reading((1,), 7)
    assert read_csv(b"1,7,2", ("a", "label", "b")) == Reading((1, 2), 7)
    assert read_csv(b"1,7.5,2", ("a", "label", "b")) is None
    assert read_csv(b"1,nan,2", ("a", "label", "b")) is None


def test_auto_takes_both() -> None:
    framing = choose_framing("auto")
    assert framing(b" [1, 2]") == framing(b"1, 2") == framing(b'{"values": [1, 2]}') == Reading((1, 2))
    assert framing(b"hello") is None


@given(st.binary(max_size=60), st.sampled_from(["csv", "json", "auto"]), st.sampled_from([(), ("a",), ("a", "label")]))
def test_any_bytes_are_a_reading_of_floats_or_garbage(record: bytes, kind: str, fields: tuple[str, ...]) -> None:
    reading = choose_framing(kind, fields)(record)
    assert reading is None or (reading.values and all(isinstance(value, float) for value in reading.values))
