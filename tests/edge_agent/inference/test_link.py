from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import ManualClock
from edge_agent.errors import ModelError
from edge_agent.inference.doorbell import LinkFds, create_link
from edge_agent.inference.layout import LinkLayout, layout_of
from edge_agent.inference.link import AnsweringEnd, AskingEnd
from edge_agent.values import DTYPES, TensorSpec

FIXED = TensorSpec("x", "float32", (1, 4))
OUT = TensorSpec("y", "float32", (1, 4))


@contextmanager
def linked(layout: LinkLayout) -> Iterator[tuple[AskingEnd, AnsweringEnd]]:
    """Both ends in one process, each with descriptors of its own as two processes would have."""
    fds = create_link(layout.total_bytes)
    asking = AskingEnd(layout, LinkFds(*(os.dup(fd) for fd in fds.all())))
    answering = AnsweringEnd(layout, fds, ManualClock())
    try:
        yield asking, answering
    finally:
        asking.close()
        answering.close()


@st.composite
def tensors(draw: st.DrawFn) -> tuple[TensorSpec, Any]:
    dtype = draw(st.sampled_from(sorted(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(1, 5), max_size=3)))
    free = tuple(None if draw(st.booleans()) else size for size in shape)
    values = np.frombuffer(draw(st.binary(min_size=512, max_size=512)), np.uint8)
    count = int(np.prod(shape, dtype=int))
    raw = np.resize(values, count * DTYPES[dtype])
    array = (raw[:count] & 1).astype(bool) if dtype == "bool" else raw.view(np.dtype(dtype))
    return TensorSpec("t", dtype, free), array.reshape(shape)


@settings(deadline=None, max_examples=60)
@given(st.lists(tensors(), min_size=1, max_size=3), st.integers(1, 3))
def test_tensors_come_through_and_back_bit_for_bit(drawn: list[tuple[TensorSpec, Any]], rounds: int) -> None:
    inputs = [TensorSpec(f"in{i}", spec.dtype, spec.shape) for i, (spec, _) in enumerate(drawn)]
    outputs = [TensorSpec(f"out{i}", spec.dtype, spec.shape) for i, (spec, _) in enumerate(drawn)]
    arrays = {f"in{i}": array for i, (_, array) in enumerate(drawn)}

    def echo(received: Mapping[str, Any]) -> dict[str, Any]:
        return {name.replace("in", "out"): array.copy() for name, array in received.items()}

    with linked(layout_of(inputs, outputs)) as (asking, answering):
        for _ in range(rounds):
            number = asking.ask(arrays)
            assert asking.answer(number) is None
            assert answering.serve(echo) == (1, 0)
            answer = asking.answer(number)
            assert answer is not None and not answer.error
            for i, (_, array) in enumerate(drawn):
                got = answer.outputs[f"out{i}"]
                assert got.shape == array.shape
                assert got.tobytes() == array.tobytes()


def test_a_model_error_comes_back_as_text_and_the_link_goes_on() -> None:
    def refuse(received: Mapping[str, Any]) -> dict[str, Any]:
        raise ModelError("cannot " + "é" * 600)

    with linked(layout_of([FIXED], [OUT])) as (asking, answering):
        x = np.ones((1, 4), np.float32)
        number = asking.ask({"x": x})
        assert answering.serve(refuse) == (1, 1)
        answer = asking.answer(number)
        assert answer is not None and answer.error.startswith("cannot é")
        number = asking.ask({"x": x})
        answering.serve(lambda received: {"y": received["x"] * 2})
        answer = asking.answer(number)
        assert answer is not None and answer.outputs["y"].tolist() == [[2, 2, 2, 2]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4,), np.float32), "has shape"),
        (np.ones((1, 4), np.float64), "is float64"),
        (np.ones((1, 1), np.float32), "has shape"),
    ],
)
def test_an_input_that_is_not_the_manifests_is_refused(array: Any, message: str) -> None:
    with linked(layout_of([FIXED], [OUT])) as (asking, _), pytest.raises(ModelError, match=message):
        asking.ask({"x": array})


def test_a_missing_input_is_named() -> None:
    with linked(layout_of([FIXED], [OUT])) as (asking, _), pytest.raises(ModelError, match="tensor x"):
        asking.ask({})


def test_an_output_that_does_not_fit_is_an_error_not_an_overrun() -> None:
    free = TensorSpec("y", "float32", (None, 4))
    layout = layout_of([FIXED], [free])
    rows = layout.outputs[0].capacity_bytes // 16 + 1
    with linked(layout) as (asking, answering):
        number = asking.ask({"x": np.zeros((1, 4), np.float32)})
        answering.serve(lambda received: {"y": np.zeros((rows, 4), np.float32)})
        answer = asking.answer(number)
        assert answer is not None and "the link holds" in answer.error


def test_two_waiting_requests_are_answered_in_order() -> None:
    seen: list[float] = []

    def watch(received: Mapping[str, Any]) -> dict[str, Any]:
        seen.append(float(received["x"][0, 0]))
        return {"y": received["x"].copy()}

    with linked(layout_of([FIXED], [OUT])) as (asking, answering):
        numbers = [asking.ask({"x": np.full((1, 4), value, np.float32)}) for value in (7, 8)]
        assert answering.serve(watch) == (2, 0)
        assert seen == [7, 8]
        values = [answer.outputs["y"][0, 0] for n in numbers if (answer := asking.answer(n)) is not None]
        assert values == [7, 8]


def test_the_asking_end_knows_whether_the_worker_began() -> None:
    begun: list[bool] = []

    def look(received: Mapping[str, Any]) -> dict[str, Any]:
        begun.append(asking.taken(0))
        return {"y": received["x"].copy()}

    with linked(layout_of([FIXED], [OUT])) as (asking, answering):
        number = asking.ask({"x": np.zeros((1, 4), np.float32)})
        assert not asking.taken(number)
        answering.serve(look)
        assert begun == [True]
        assert asking.taken(number)
        assert not asking.taken(number + 2)
