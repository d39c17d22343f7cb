"""Models with state, asked over the API: what a client leaves out of the state is the initial one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from echo_model import echo_bundle
from front_rig import FrontRig

from benchmarks.tiny_model import TinyBundle
from edge_agent.bundle.manifest import StatePair, StateSpec, Step, to_json


@pytest.fixture
def stateful(rig: FrontRig, tmp_path: Path) -> FrontRig:
    """An echo of a, and of the state b, which begins as 0.5."""
    plain = echo_bundle(tmp_path / "echo", "echo", [1, 2], [1, 3])
    state = StateSpec((StatePair("b", "out_b", 0.5),))
    manifest = replace(plain.manifest, state=state, postprocess=(Step("argmax"),))
    rig.serve(TinyBundle(manifest, plain.folder, hashlib.sha256(to_json(manifest)).hexdigest()))
    return rig


def test_state_left_out_is_the_initial_one(stateful: FrontRig) -> None:
    one = {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    state = {"name": "b", "shape": [1, 3], "datatype": "FP32", "data": [7, 8, 9]}
    for inputs, expected in (([one], [0.5] * 3), ([one, state], [7, 8, 9]), ([one], [0.5] * 3)):
        outputs = stateful.ask("POST", "/v2/models/echo/infer", {"inputs": inputs}).json["outputs"]
        assert [output["data"] for output in outputs] == [[1, 2], expected]
    assert stateful.ask("POST", "/v2/models/echo/infer", {"inputs": [state]}).status == 400


def test_rows_columns_and_plain_values_begin_with_the_initial_state(stateful: FrontRig) -> None:
    rows = stateful.ask("POST", "/v1/models/echo:predict", {"instances": [[1, 2]]}).json
    assert rows == {"predictions": [{"out_a": [1, 2], "out_b": [0.5] * 3}]}
    columns = stateful.ask("POST", "/v1/models/echo:predict", {"inputs": {"a": [[1, 2]], "b": [[7, 8, 9]]}}).json
    assert columns == {"outputs": {"out_a": [[1, 2]], "out_b": [[7, 8, 9]]}}
    assert stateful.ask("POST", "/predict", b"1,2").json["scores"] == [1.0, 2.0]
