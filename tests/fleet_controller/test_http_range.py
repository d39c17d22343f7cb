"""Range headers (RFC 9110 section 14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_controller.http_range import ByteRange, Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-", ByteRange(0, 99)),
        ("bytes=0-0", ByteRange(0, 0)),
        ("bytes=90-1000", ByteRange(90, 99)),
        ("bytes=-1", ByteRange(99, 99)),
        ("bytes=-1000", ByteRange(0, 99)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-8", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_of_a_hundred_bytes(header: str | None, wanted: ByteRange | None) -> None:
    assert parse_range(header, 100) == wanted


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_what_holds_no_byte_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 100)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"bytes=\d{0,20}-\d{0,20}", fullmatch=True)), st.integers(0, 1000))
def test_a_range_always_lies_inside_the_file(header: str, size_bytes: int) -> None:
    try:
        part = parse_range(header, size_bytes)
    except Unsatisfiable:
        return
    assert part is None or (0 <= part.first <= part.last < size_bytes and part.length >= 1)
