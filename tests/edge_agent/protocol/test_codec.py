"""Every message survives the wire, agrees with its schema, and nothing hostile gets through."""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Hashable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import edge_agent.protocol
from edge_agent.errors import CommandError
from edge_agent.protocol.codec import MAX_BYTES, MAX_DEPTH, decode, encode
from edge_agent.protocol.messages import (
    RESULT_STATUSES,
    AckMessage,
    CommandMessage,
    EventMessage,
    MetricsMessage,
    PredictionMessage,
    ResultMessage,
    StatusMessage,
)

KINDS: dict[str, type[Any]] = {
    "status": StatusMessage,
    "metrics": MetricsMessage,
    "event": EventMessage,
    "command": CommandMessage,
    "result": ResultMessage,
    "ack": AckMessage,
    "prediction": PredictionMessage,
}
SCHEMAS = Path(edge_agent.protocol.__file__).parent / "schemas"

texts = st.text(max_size=8)
wholes = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | wholes | numbers | texts
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=4)
words = {
    ("StatusMessage", "state"): st.sampled_from(["online", "offline"]),
    ("EventMessage", "level"): st.sampled_from(["debug", "info", "warning", "error"]),
    ("ResultMessage", "status"): st.sampled_from(RESULT_STATUSES),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return trees
    if is_dataclass(hint):
        return messages_of(typing.cast("Hashable", hint))
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is not None and type(None) not in arguments:
        return st.dictionaries(texts, values_of(arguments[1]), max_size=2)
    if origin is not None:
        return st.none() | values_of(arguments[0])
    return {str: texts, int: wholes, float: numbers, bool: st.booleans()}[hint]


@cache
def messages_of(kind: Hashable) -> st.SearchStrategy[Any]:
    cls = typing.cast("type[Any]", kind)
    hints = typing.get_type_hints(cls)
    parts = {f.name: words.get((cls.__name__, f.name), values_of(hints[f.name])) for f in fields(cls) if f.name != "v"}
    return st.builds(cls, **parts)


@cache
def validator(kind: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_message_comes_back_equal_and_matches_its_schema(kind: str, data: st.DataObject) -> None:
    message = data.draw(messages_of(typing.cast("Hashable", KINDS[kind])))
    payload = encode(message)
    assert decode(KINDS[kind], payload) == message
    validator(kind).validate(json.loads(payload))


def schema_objects(kind: str) -> dict[str, Any]:
    schema = validator(kind).schema
    assert isinstance(schema, dict)
    return {schema["title"]: schema, **schema.get("$defs", {})}


def dataclasses_in(cls: type[Any]) -> dict[str, type[Any]]:
    found = {cls.__name__: cls}
    for hint in typing.get_type_hints(cls).values():
        for inner in (hint, *typing.get_args(hint)):
            if is_dataclass(inner):
                found.update(dataclasses_in(typing.cast("type[Any]", inner)))
    return found


def required(field: Field[Any]) -> bool:
    return field.name == "v" or (field.default is MISSING and field.default_factory is MISSING)


@pytest.mark.parametrize("kind", KINDS)
def test_schema_and_dataclass_name_the_same_keys(kind: str) -> None:
    classes = dataclasses_in(KINDS[kind])
    objects = schema_objects(kind)
    assert set(objects) == set(classes)
    for name, cls in classes.items():
        assert list(objects[name]["properties"]) == [f.name for f in fields(cls)]
        assert set(objects[name]["required"]) == {f.name for f in fields(cls) if required(f)}
        assert all(p.get("description") for p in objects[name]["properties"].values())


def test_there_is_a_schema_for_every_message_and_no_other() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{kind}.schema.json" for kind in KINDS}


def with_key(key: str, value: Any) -> bytes:
    tree = {"device": "d", "t": "", "seq": 1, "interval_s": 1.0, "board": {}, "v": 1}
    return json.dumps({**tree, key: value}).encode()


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"[" * 200_000, "not JSON"),
        (b" " * (MAX_BYTES + 1), "bytes are more"),
        (b'{"id": "x"}', "v: is missing"),
        (b'{"id": "x", "v": 2}', "v: is 2"),
        (b'{"id": "x", "v": true}', "v: is True"),
        (b'{"id": "x", "v": 1.0}', "v: is 1.0"),
        (with_key("seq", "1"), "seq: must be a whole number, is text"),
        (with_key("seq", True), "seq: must be a whole number, is true or false"),
        (with_key("seq", 1.5), "seq: must be a whole number"),
        (with_key("seq", 2**63), "seq: a whole number that does not fit"),
        (with_key("interval_s", None), "interval_s: must be a number, is null"),
        (with_key("interval_s", math.nan), "NaN is not a JSON number"),
        (with_key("board", []), "board: must be an object, is a list"),
        (with_key("board", {"cpu_percent": "hot"}), "board.cpu_percent: must be a number, is text"),
        (with_key("board", {"throttled": 1}), "board.throttled: must be true or false"),
        (with_key("board", {"throttle_reasons": [1]}), r"board.throttle_reasons\[0\]: must be text"),
        (with_key("pipelines", [{}]), r"pipelines\[0\].name: is missing"),
        (with_key("device", "\ud800"), "device: text that is not Unicode"),
        (b'{"v": 1}', "device: is missing"),
    ],
)
def test_a_bad_message_gets_one_error_that_names_the_key(payload: bytes, named: str) -> None:
    with pytest.raises(CommandError, match=named):
        decode(MetricsMessage, payload)


def test_a_number_beyond_the_range_of_floats_is_refused() -> None:
    payload = with_key("interval_s", 7).replace(b'"interval_s": 7', b'"interval_s": 1e999')
    with pytest.raises(CommandError, match="interval_s: inf is not a finite number"):
        decode(MetricsMessage, payload)


def test_free_form_data_is_checked_as_deeply_as_the_rest() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(CommandError, match=r"args\.a.*nested deeper"):
        decode(CommandMessage, json.dumps({"id": "1", "kind": "ping", "args": {"a": deep}, "v": 1}).encode())
    with pytest.raises(CommandError, match=r"args.a\[0\].b: text that is not Unicode"):
        decode(CommandMessage, json.dumps({"id": "1", "kind": "ping", "args": {"a": [{"b": "\udfff"}]}, "v": 1}).encode())


def test_unknown_keys_are_ignored() -> None:
    assert decode(AckMessage, b'{"id":"7","v":1,"later":{"x":1}}') == AckMessage("7")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"a": math.inf}, "data.a: inf is not a finite number"),
        ({"a": [math.nan]}, r"data.a\[0\]: nan"),
        ({"p": Path("/x")}, "data.p: PosixPath has no place"),
        ({1: 2}, "data: has a key that is not text"),
        ({"s": "\ud800"}, "data.s: text that is not Unicode"),
        ({"n": 1 << 70}, "data.n: a whole number"),
        ({"long": "x" * MAX_BYTES}, "bytes are more"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(data: dict[Any, Any], named: str) -> None:
    with pytest.raises(CommandError, match=named):
        encode(EventMessage("d", "t", "kind", "info", "m", data))


@given(st.binary(max_size=200) | trees.map(lambda tree: json.dumps(tree).encode()))
def test_any_bytes_at_all_give_a_message_or_one_error(payload: bytes) -> None:
    try:
        decode(CommandMessage, payload)
    except CommandError:
        return
