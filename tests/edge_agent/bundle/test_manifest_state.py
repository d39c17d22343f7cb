"""What a manifest says of a model's state: read back as written, every contradiction named by its key, never ignored by a reader of old."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.bundle.manifest import (
    FileEntry,
    Manifest,
    RuntimeRequirement,
    StatePair,
    StateSpec,
    fed_inputs,
    read_outputs,
    to_json,
)
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.errors import BundleError
from edge_agent.values import TensorSpec


def stateful(state: StateSpec | None, **changes: Any) -> Manifest:
    manifest = Manifest(
        name="voice",
        version="1",
        runtime=RuntimeRequirement("onnx"),
        files=(FileEntry("model.onnx", "model", 4, "0" * 64),),
        inputs=(
            TensorSpec("x", "float32", (1, 576)),
            TensorSpec("h", "float32", (None, 8)),
            TensorSpec("c", "int8", (1, 8), 0.5, 3),
            TensorSpec("n", "int64", (1,)),
        ),
        outputs=(
            TensorSpec("hn", "float32", (1, 8)),
            TensorSpec("p", "float32", (1, 1)),
            TensorSpec("cn", "int8", (1, 8), 0.5, 3),
            TensorSpec("wide", "float32", (1, 9)),
            TensorSpec("other", "int8", (1, 8), 0.25, 3),
            TensorSpec("nn", "int64", (1,)),
        ),
        state=state,
    )
    return replace(manifest, **changes)


PAIRS = StateSpec((StatePair("h", "hn"), StatePair("c", "cn", -1.5)), "carry", "reset")


def test_it_is_read_as_it_was_written() -> None:
    manifest = stateful(PAIRS)
    again = from_json(to_json(manifest))
    assert again == manifest
    assert again.state == PAIRS
    assert json.loads(to_json(manifest))["state"]["on_gap"] == "reset"


def test_only_bundles_with_state_have_the_new_format_so_that_readers_of_old_refuse_them() -> None:
    plain, remembering = json.loads(to_json(stateful(None))), json.loads(to_json(stateful(PAIRS)))
    assert plain["format"] == 1
    assert "state" not in plain
    assert remembering["format"] == 2


@pytest.mark.parametrize(
    ("format_number", "state", "words"),
    [
        (1, {"pairs": [{"input": "h", "output": "hn"}]}, "format: is 1; a bundle with state has 2"),
        (2, None, "state: is missing"),
        (4, None, "format: is 4; this version reads formats 1, 2, 3"),
        (3, None, "format: is 3; a bundle with a file of role weights has 3, and no other has"),
        (2, "yes", "state: has the wrong type"),
        (2, {"pairs": [7]}, "state.pairs[0]: must be an object"),
        (2, {"pairs": [{"input": "h"}]}, "state.pairs[0].output: is missing"),
        (2, {"pairs": [{"input": "h", "output": "hn", "initial": float("nan")}]}, "state.pairs[0].initial: must be a finite number"),
        (2, {"pairs": [{"input": "h", "output": "hn", "initial": 10**400}]}, "state.pairs[0].initial: must be a finite number"),
        (2, {"pairs": [{"input": "h", "output": "hn"}], "on_swap": "keep"}, "state.on_swap: 'keep' is not one of reset, carry"),
        (2, {"pairs": [{"input": "h", "output": "hn"}], "on_gap": "carry"}, "state.on_gap: 'carry' is not one of keep, reset"),
        (2, {"pairs": [{"input": "h", "output": "hn"}], "in_graph": "x"}, "state.in_graph: 'x' is not one of reset, keep"),
    ],
)
def test_what_is_wrong_in_the_json_is_named(format_number: int, state: Any, words: str) -> None:
    tree = json.loads(to_json(stateful(None))) | {"format": format_number} | ({} if state is None else {"state": state})
    with pytest.raises(BundleError) as caught:
        from_json(json.dumps(tree).encode())
    assert f"manifest.json {words}" in str(caught.value)


def pairs(*named: tuple[str, str]) -> StateSpec:
    return StateSpec(tuple(StatePair(*names) for names in named))


KEEPING = StateSpec(in_graph="keep")


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (pairs(("q", "hn")), {}, "state.pairs[0].input"),
        (pairs(("h", "q")), {}, "state.pairs[0].output"),
        (pairs(("h", "wide")), {}, "state.pairs[0]"),
        (pairs(("c", "hn")), {}, "state.pairs[0]"),
        (pairs(("h", "hn"), ("c", "other")), {}, "state.pairs[1]"),
        (pairs(("h", "hn"), ("h", "hn")), {}, "name an input twice"),
        (StateSpec((StatePair("n", "nn", 0.5),)), {}, "state.pairs[0].initial"),
        (StateSpec(), {}, "leave state out"),
        (pairs(("h", "hn")), {"inputs": (TensorSpec("h", "float32", (1, 8)),)}, "nothing is left for a window"),
        (pairs(("h", "hn")), {"outputs": (TensorSpec("hn", "float32", (1, 8)),)}, "nothing is left to read"),
        (KEEPING, {}, "state.in_graph"),
        (replace(KEEPING, on_gap="reset"), {"runtime": RuntimeRequirement("tflite")}, "state.on_gap"),
        (replace(KEEPING, on_swap="carry"), {"runtime": RuntimeRequirement("tflite")}, "state.on_swap"),
    ],
)
def test_what_does_not_fit_the_model_is_named(state: StateSpec, changes: Any, words: str) -> None:
    with pytest.raises(BundleError) as caught:
        from_json(to_json(stateful(state, **changes)))
    assert words in str(caught.value)


def test_a_graph_that_keeps_state_says_so() -> None:
    manifest = from_json(to_json(stateful(KEEPING, runtime=RuntimeRequirement("tflite"))))
    assert manifest.keeps_state_in_graph
    assert not stateful(PAIRS).keeps_state_in_graph
    assert not stateful(None).keeps_state_in_graph


def test_windows_feed_and_verdicts_read_what_is_not_state() -> None:
    manifest = stateful(PAIRS)
    assert [spec.name for spec in fed_inputs(manifest)] == ["x", "n"]
    assert [spec.name for spec in read_outputs(manifest)] == ["p", "wide", "other", "nn"]
    assert fed_inputs(stateful(None)) == manifest.inputs
    assert read_outputs(stateful(None)) == manifest.outputs


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["h", "hn", "p", "x", "carry", "keep", "reset", ""])
_PAIR = st.dictionaries(st.sampled_from(["input", "output", "initial", "later"]), _VALUES)
_STATE = st.dictionaries(st.sampled_from(["on_swap", "on_gap", "in_graph", "later"]), _VALUES)


@settings(max_examples=300, deadline=None)
@given(state=_STATE, pairs=st.lists(_PAIR | _VALUES, max_size=3) | _VALUES)
def test_whatever_is_said_of_state_is_refused_by_name_or_can_be_written_again(state: dict[str, Any], pairs: Any) -> None:
    tree = json.loads(to_json(stateful(PAIRS))) | {"state": state | {"pairs": pairs}}
    try:
        manifest = from_json(json.dumps(tree).encode())
    except BundleError as error:
        assert str(error).startswith("manifest.json state")
        return
    assert from_json(to_json(manifest)) == manifest
    assert fed_inputs(manifest) and read_outputs(manifest)
