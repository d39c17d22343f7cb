"""The durable record of the update in progress: one JSON file, replaced whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from edge_agent.errors import StoreError
from edge_agent.update.durable import replace_durable, store_error, write_durable
from edge_agent.update.machine import State, UpdateCommand, UpdateRecord

_MAX_BYTES = 1 << 20
_MAX_REASON_CHARS = 4096


class FileJournal:
    """The Journal port over the file at ``path``; its folder must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> UpdateRecord:
        """The last record saved; IDLE when there is none.

        A file that is not a record is moved aside to ``<name>.damaged``, and read as IDLE with the reason.
        Raises :class:`StoreError` when the file cannot be read at all.
        """
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_BYTES)
        except FileNotFoundError:
            return UpdateRecord(State.IDLE)
        except OSError as error:
            raise store_error(error, self._path, "read") from error
        try:
            return _record(json.loads(data))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            replace_durable(self._path, aside)
            return UpdateRecord(State.IDLE, reason=f"{self._path} was damaged ({error}) and is now {aside.name}")

    def save(self, record: UpdateRecord) -> None:
        """Durable when it returns. Raises :class:`StoreFull` or :class:`StoreError`; the old record stands then."""
        tree = asdict(record)
        tree["state"] = record.state.value
        tree["reason"] = record.reason[:_MAX_REASON_CHARS]
        try:
            data = json.dumps(tree, indent=1).encode()
        except UnicodeEncodeError as error:
            raise StoreError(f"{self._path}: the record is not text ({error})") from None
        write_durable(self._path, data)


def _record(tree: Any) -> UpdateRecord:
    if not isinstance(tree, dict):
        raise ValueError("not an object")
    command = tree.get("command")
    known = _typed(UpdateRecord, tree, skip=("state", "command"))
    return UpdateRecord(State(tree["state"]), None if command is None else command_from_tree(command), **known)


def command_from_tree(tree: Any) -> UpdateCommand:
    """The command in a JSON object; unknown keys are ignored. Raises ValueError, KeyError or TypeError."""
    if not isinstance(tree, dict):
        raise ValueError("the command is not an object")
    return UpdateCommand(**_typed(UpdateCommand, tree))


def _typed(kind: type, tree: Mapping[str, Any], skip: tuple[str, ...] = ()) -> dict[str, Any]:
    read: Mapping[str, Callable[[Any], Any]] = {"str": str, "int": int, "float": float}
    values = {}
    for field in fields(kind):
        if field.name in skip or field.name not in tree:
            continue
        value = tree[field.name]
        expected = read[str(field.type)]
        if isinstance(value, bool) or not isinstance(value, (str,) if expected is str else (int, float)):
            raise ValueError(f"{field.name} is not {field.type}")
        values[field.name] = expected(value)
    return values
