"""docs/sinks.md names every kind and key, and its examples are right."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from edge_agent.sinks.options import SINK_KINDS, check_sink, sink_keys
from edge_agent.sinks.terms import DEFAULT_MAX_AGE_S, DEFAULT_QUEUE, POLICIES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCUMENT = (Path(__file__).parents[3] / "docs" / "sinks.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)


def keys_in_table() -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    kind = ""
    for first, key in re.findall(r"^\| (?:`(\w+)`)? ?\| `(\w+)` \|", DOCUMENT.split("## The kinds")[1], re.MULTILINE):
        kind = first or kind
        keys.setdefault(kind, set()).add(key)
    return keys


def test_the_table_has_every_key_and_no_other() -> None:
    assert keys_in_table() == {kind: set(sink_keys(kind)) - {"queue", "policy", "max_age_s"} for kind in SINK_KINDS}
    assert f"| `queue` | {DEFAULT_QUEUE} |" in DOCUMENT and f"| `max_age_s` | {DEFAULT_MAX_AGE_S:g} |" in DOCUMENT
    assert all(f"`{policy}`" in DOCUMENT for policy in POLICIES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_right(example: str) -> None:
    tree = tomllib.loads(example)
    for sink in tree["pipelines"]["sinks"] if "pipelines" in tree else [tree]:
        kind = sink.pop("kind")
        assert check_sink(kind, sink, "example") == []


def test_every_kind_has_an_example() -> None:
    shown = {kind for example in EXAMPLES for kind in re.findall(r'^kind = "(\w+)"', example, re.MULTILINE)}
    assert shown == set(SINK_KINDS)
