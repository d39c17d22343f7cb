"""The manifest read from JSON: whatever is put into it, there is a usable manifest or an error that names the key."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_bundle

from edge_agent.bundle.manifest import to_json
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.errors import BundleError


@pytest.fixture(scope="module")
def tree() -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        yield json.loads(to_json(tiny_bundle(Path(folder) / "a.edgemodel", cases=1).manifest))


def paths_of(tree: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value in a JSON tree."""
    found = [prefix] if prefix else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += paths_of(value, (*prefix, key))
    return found


def put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of ``tree`` with ``value`` at ``path``."""
    copy = json.loads(json.dumps(tree))
    node = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return copy


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**400, -1, 1 << 40, "../x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None)
@given(data=st.data(), value=json_values)
def test_any_value_anywhere_is_refused_by_name_or_can_be_written_again(tree: Any, data: st.DataObject, value: Any) -> None:
    spoilt = put(tree, data.draw(st.sampled_from(paths_of(tree))), value)
    try:
        manifest = from_json(json.dumps(spoilt).encode())
    except BundleError as error:
        assert str(error).startswith("manifest.json ") or "not JSON" in str(error)
        return
    again = from_json(to_json(manifest))
    assert to_json(again) == to_json(manifest)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("golden", 0, "atol"), 10**400, "golden[0].atol"),
        (("requires", "ram_mib"), 10**400, "requires.ram_mib"),
        (("inputs", 0, "scale"), 10**400, "inputs[0].scale"),
        (("inputs", 0, "zero_point"), 1 << 40, "inputs[0].zero_point"),
        (("inputs", 0, "shape"), [1] * 40, "inputs[0].shape"),
        (("files", 0, "path"), "../model.onnx", "files[0].path"),
        (("files", 0, "path"), "/model.onnx", "files[0].path"),
        (("created",), "\ud800", "not JSON"),
        (("runtime", "name"), "pickle", "runtime.name"),
    ],
)
def test_values_that_look_right_and_are_not(tree: Any, path: tuple[Any, ...], value: Any, words: str) -> None:
    with pytest.raises(BundleError) as caught:
        from_json(json.dumps(put(tree, path, value)).encode())
    assert words in str(caught.value)


def test_a_tensor_named_twice(tree: Any) -> None:
    with pytest.raises(BundleError, match="inputs: names a tensor twice"):
        from_json(json.dumps(put(tree, ("inputs",), tree["inputs"] * 2)).encode())


def test_unknown_keys_are_left_for_newer_readers(tree: Any) -> None:
    assert from_json(json.dumps({**tree, "later": {"x": 1}}).encode()) == from_json(json.dumps(tree).encode())
