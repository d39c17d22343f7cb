"""The journal: what was saved is what is read, and damage is never mistaken for a state."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_faults import tiny_disk

from edge_agent.errors import StoreError, StoreFull
from edge_agent.update.journal import FileJournal
from edge_agent.update.machine import State, UpdateCommand, UpdateRecord

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
COMMANDS = st.builds(
    UpdateCommand, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, st.integers(0, 2**62), st.floats(0, 1e6, allow_nan=False, allow_infinity=False)
)
RECORDS = st.builds(
    UpdateRecord, st.sampled_from(State), st.none() | COMMANDS, st.integers(-1, 9), TEXT, TEXT, TEXT, st.integers(0, 2**62), TEXT
)
FOLDER_KEEPER = tempfile.TemporaryDirectory(prefix="edge-journal-")  # gone when the tests end
FOLDER = Path(FOLDER_KEEPER.name)


def test_without_a_file_the_machine_is_idle(tmp_path: Path) -> None:
    assert FileJournal(tmp_path / "journal.json").load() == UpdateRecord(State.IDLE)


@given(record=RECORDS)
def test_a_saved_record_is_read_back(record: UpdateRecord) -> None:
    journal = FileJournal(FOLDER / "saved.json")
    journal.save(record)
    assert FileJournal(FOLDER / "saved.json").load() == record


@given(data=st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda t: json.dumps(t).encode()))
def test_what_is_no_record_is_moved_aside_and_read_as_idle(data: bytes) -> None:
    path = FOLDER / "damaged.json"
    path.write_bytes(data)
    record = FileJournal(path).load()
    assert record.state is State.IDLE
    assert "was damaged" in record.reason
    assert not path.exists()
    assert path.with_name("damaged.json.damaged").read_bytes() == data


@pytest.mark.parametrize(
    ("key", "value"), [("state", "ODD"), ("attempts", "1"), ("attempts", True), ("digest", 5), ("command", []), ("command", {})]
)
def test_a_wrong_type_is_damage(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "journal.json"
    FileJournal(path).save(UpdateRecord(State.WATCHING, UpdateCommand("c", "m", "1")))
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert FileJournal(path).load().state is State.IDLE


def test_keys_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    record = UpdateRecord(State.WATCHING, UpdateCommand("c", "m", "1"))
    FileJournal(path).save(record)
    path.write_text(json.dumps({**json.loads(path.read_text()), "new": 1}))
    assert FileJournal(path).load() == record


def test_a_full_disk_leaves_the_old_record(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", size_kib=16) as disk:
        journal = FileJournal(disk / "journal.json")
        record = UpdateRecord(State.WATCHING, UpdateCommand("c", "m", "1"))
        journal.save(record)
        (disk / "ballast").write_bytes(b"x" * 8192)
        with pytest.raises(StoreFull):
            journal.save(replace(record, state=State.ROLLING_BACK, reason="x" * 4000))
        assert journal.load() == record


def test_an_unreadable_journal_is_an_error_and_not_an_idle_machine(tmp_path: Path) -> None:
    (tmp_path / "journal.json").mkdir()
    with pytest.raises(StoreError, match=r"journal\.json"):
        FileJournal(tmp_path / "journal.json").load()
