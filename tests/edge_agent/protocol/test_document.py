"""docs/mqtt.md says what the code does: every key of every message, every kind of event, every topic and status."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from edge_agent.protocol.messages import COMMAND_KINDS, RESULT_STATUSES
from edge_agent.protocol.topics import Topics

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
LEVELS = {"info", "warning", "error"}


def told_in_code() -> dict[str, set[str]]:
    """Kinds of events: a word with an underscore (or one of a few without) that stands before a level, in a call or a tuple."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "edge_agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            items = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
            words = [item.value if isinstance(item, ast.Constant) else None for item in items]
            for kind, level in zip(words, words[1:], strict=False):  # noqa: RUF007
                if isinstance(kind, str) and level in LEVELS and kind not in {*LEVELS, "debug"}:
                    found.setdefault(kind, set()).add(level)
    return found


def told_in_document() -> dict[str, str]:
    table = DOCUMENT.split("## Events")[1].split("## Messages")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE))


def test_every_kind_of_event_is_documented_with_its_level_and_no_other() -> None:
    code, document = told_in_code(), told_in_document()
    assert len(code) > 20
    assert set(document) == set(code)
    assert all(document[kind] in levels for kind, levels in code.items())


def test_every_key_of_every_message_is_documented() -> None:
    messages = DOCUMENT.split("## Messages")[1]
    for path in (ROOT / "edge_agent" / "protocol" / "schemas").iterdir():
        schema = json.loads(path.read_text(encoding="utf-8"))
        assert f"### {path.name.split('.')[0]}\n" in messages
        for part in (schema, *schema.get("$defs", {}).values()):
            for key, about in part["properties"].items():
                assert any(line.startswith(f"| `{key}` |") and about["description"] in line for line in messages.splitlines()), key


def test_every_topic_command_and_status_is_documented() -> None:
    topics = Topics("DEVICE", "PREFIX")
    for topic in (topics.status, topics.metrics, topics.events, topics.command, topics.result, topics.ack, topics.predictions("NAME")):
        assert f"| `{topic}` |" in DOCUMENT
    for word in (*COMMAND_KINDS, *RESULT_STATUSES):
        assert f"`{word}`" in DOCUMENT
