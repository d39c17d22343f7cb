"""Every state, failed in, cancelled in and killed in, on real processes: the chain of states, the last word, and who serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from models import TinyBundle, tiny_bundle
from repository_simulator import RepositorySimulator
from store_faults import tiny_disk

from edge_agent.update.journal import FileJournal
from edge_agent.update.machine import State
from edge_agent.update.store import FileStore

TESTS = Path(__file__).resolve().parents[2]
HARNESS = Path(__file__).with_name("agent_harness.py")
LETTERS = {
    "F": State.FETCHING,
    "V": State.VERIFYING,
    "T": State.TRYING,
    "A": State.ACTIVATING,
    "W": State.WATCHING,
    "R": State.ROLLING_BACK,
    "B": State.BROKEN,
    "I": State.IDLE,
}
EVENTS = {
    "FETCHING": "pre-install",
    "VERIFYING": "verify",
    "TRYING": "trial",
    "ACTIVATING": "pre-activate",
    "WATCHING": "post-activate",
    "ROLLING_BACK": "pre-rollback",
    "IDLE": "post-install",
}
FAIL = "echo no; exit 1\n"
CANCEL = "kill -USR1 $PPID; until [ -e ROOT/cancelled ]; do sleep 0.01; done\n"
KILL = "[ -e ROOT/killed ] || { touch ROOT/killed; kill -9 $PPID; }\n"
ALWAYS_KILL = "kill -9 $PPID\n"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyBundle]:
    folder = tmp_path_factory.mktemp("shelf")
    return {version: tiny_bundle(folder / version, name="m", version=version) for version in ("1", "2", "sick", "wrong")}


@dataclass
class Agent:
    """A device with version 1 installed, and a repository that has the others."""

    root: Path
    url: str
    shelf: dict[str, TinyBundle]

    def hook(self, event: str, script: str) -> None:
        path = self.root / "hooks" / event
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.write_text("#!/bin/sh\n" + script.replace("ROOT", str(self.root)))
        path.chmod(0o755)

    def run(self, version: str = "") -> int:
        argv = [sys.executable, str(HARNESS), str(self.root), self.url, *([version] if version else [])]
        search = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        return subprocess.run(argv, check=False, timeout=100, env={**os.environ, "PYTHONPATH": search}).returncode

    def log(self) -> list[dict[str, Any]]:
        path = self.root / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def chain(self) -> str:
        """The states that were entered, by their letters."""
        names = {state.value: letter for letter, state in LETTERS.items()}
        return "".join(names[line["to"]] for line in self.log() if line.get("event") == "update_state")

    def results(self) -> list[str]:
        return [line["result"] for line in self.log() if "result" in line]

    def serves(self) -> str:
        """The version that serves, after checking that store and host agree and its files are whole."""
        store = FileStore(self.root / "store")
        digest = store.active("m")
        assert (self.root / "serving").read_text() == digest
        assert store.healthy(digest)
        return store.manifest(digest).version


@pytest.fixture
def agent(tmp_path: Path, repository: RepositorySimulator, shelf: dict[str, TinyBundle]) -> Agent:
    return installed(tmp_path, repository, shelf)


def installed(root: Path, repository: RepositorySimulator, shelf: dict[str, TinyBundle]) -> Agent:
    repository.trusted_root(root)
    for version in ("2", "sick", "wrong"):
        repository.add("m", version, shelf[version].path.read_bytes(), sign=False)
    repository.sign_all()
    store = FileStore(root / "store")
    digest = store.adopt(shelf["1"].path)
    store.unpack(digest)
    store.set_active("m", digest)
    return Agent(root, repository.url, shelf)


# state, deed, version ordered, chain of states, last word, version that serves
CASES = [
    ("FETCHING", FAIL, "2", "FI", "refused", "1"),
    ("VERIFYING", FAIL, "2", "FVI", "refused", "1"),
    ("TRYING", FAIL, "2", "FVTI", "refused", "1"),
    ("ACTIVATING", FAIL, "2", "FVTARI", "failed", "1"),
    ("WATCHING", FAIL, "2", "FVTAWRI", "failed", "1"),
    ("ROLLING_BACK", FAIL, "sick", "FVTAWRI", "failed", "1"),
    ("IDLE", FAIL, "2", "FVTAWI", "done", "2"),
    ("FETCHING", CANCEL, "2", "FI", "failed", "1"),
    ("VERIFYING", CANCEL, "2", "FVI", "failed", "1"),
    ("TRYING", CANCEL, "2", "FVTI", "failed", "1"),
    ("ACTIVATING", CANCEL, "2", "FVTARI", "failed", "1"),
    ("WATCHING", CANCEL, "2", "FVTAWRI", "failed", "1"),
    ("ROLLING_BACK", CANCEL, "sick", "FVTAWRI", "failed", "1"),
    ("IDLE", CANCEL, "2", "FVTAWI", "done", "2"),
    ("FETCHING", KILL, "2", "FVTAWI", "done", "2"),
    ("VERIFYING", KILL, "2", "FVTAWI", "done", "2"),
    ("TRYING", KILL, "2", "FVTI", "failed", "1"),
    ("ACTIVATING", KILL, "2", "FVTARI", "failed", "1"),
    ("WATCHING", KILL, "2", "FVTAWI", "done", "2"),
    ("ROLLING_BACK", KILL, "sick", "FVTAWRI", "failed", "1"),
    ("IDLE", KILL, "2", "FVTAWI", "done", "2"),
]
DEEDS = {FAIL: "fail", CANCEL: "cancel", KILL: "kill"}


@pytest.mark.parametrize(
    ("state", "deed", "version", "chain", "word", "serves"), CASES, ids=[f"{DEEDS[case[1]]}-in-{case[0]}" for case in CASES]
)
def test_every_state_and_every_end(agent: Agent, state: str, deed: str, version: str, chain: str, word: str, serves: str) -> None:
    agent.hook(EVENTS[state], deed)
    status = agent.run(version)
    if deed == KILL:
        assert status == -9
        assert FileJournal(agent.root / "journal.json").load().state is State(state)
        assert agent.run() == 0
    else:
        assert status == 0
    assert (agent.chain(), agent.results(), agent.serves()) == (chain, [word], serves)
    assert agent.run() == 0, "and the next start has nothing left to do"
    assert agent.results() == [word]


@pytest.mark.parametrize(
    ("act", "version", "chain", "word", "serves"),
    [
        ("try_candidate", "2", "FVTI", "failed", "1"),
        ("switch 2", "2", "FVTARI", "failed", "1"),
        ("switch 1", "sick", "FVTAWRI", "failed", "1"),
    ],
)
def test_killed_after_the_effect(agent: Agent, act: str, version: str, chain: str, word: str, serves: str) -> None:
    (agent.root / "die-after").write_text(act)
    assert agent.run(version) == -9
    assert agent.run() == 0
    assert (agent.chain(), agent.results(), agent.serves()) == (chain, [word], serves)


def test_a_roll_back_that_fails_is_broken_and_survives_a_kill(agent: Agent) -> None:
    old = agent.shelf["1"].digest
    (agent.root / "refuse").write_text(old)
    agent.hook("post-rollback", KILL)
    assert agent.run("sick") == -9
    assert FileJournal(agent.root / "journal.json").load().state is State.BROKEN
    (agent.root / "refuse").unlink()
    assert agent.run() == 0
    assert (agent.chain(), agent.results(), agent.serves()) == ("FVTAWRB", ["failed"], "1")


@pytest.mark.parametrize(
    ("event", "chain", "banned"), [("pre-install", "FI", False), ("verify", "FVI", False), ("post-activate", "FVTAWRI", True)]
)
def test_killed_again_and_again_the_update_is_given_up(agent: Agent, event: str, chain: str, banned: bool) -> None:
    agent.hook(event, ALWAYS_KILL)
    assert agent.run("2") == -9
    boots = 1
    while agent.run() != 0:
        boots += 1
        assert boots < 10
    assert boots == 4
    assert (agent.chain(), agent.results(), agent.serves()) == (chain, ["failed"], "1")
    assert "gave up" in next(line["reason"] for line in agent.log() if "result" in line)
    assert bool(FileStore(agent.root / "store").quarantined(agent.shelf["2"].digest)) == banned


def hostile_signature(repository: RepositorySimulator) -> None:
    repository.files["metadata/timestamp.json"] = repository.files["metadata/timestamp.json"].replace(b'"sig":"', b'"sig":"00')


def hostile_bytes(repository: RepositorySimulator) -> None:
    for path in [path for path in repository.files if path.startswith("targets/")]:
        repository.files[path] = repository.files[path][:-1] + b"!"


@pytest.mark.parametrize("attack", [hostile_signature, hostile_bytes], ids=lambda f: f.__name__)
def test_a_hostile_repository_ends_in_a_refusal_and_the_old_one_serves(
    agent: Agent, repository: RepositorySimulator, attack: Callable[[RepositorySimulator], None]
) -> None:
    attack(repository)
    assert agent.run("2") == 0
    assert (agent.chain(), agent.results(), agent.serves()) == ("FI", ["refused"], "1")


def test_a_disk_without_room_fails_the_update_and_the_old_one_serves(
    tmp_path: Path, repository: RepositorySimulator, shelf: dict[str, TinyBundle]
) -> None:
    with tiny_disk(tmp_path / "disk", size_kib=900) as disk:
        agent = installed(disk, repository, shelf)
        assert agent.run("2") == 0
        assert (agent.chain(), agent.results(), agent.serves()) == ("FI", ["failed"], "1")
        assert "MiB are free" in next(line["reason"] for line in agent.log() if "result" in line)
        assert not list((disk / "store" / "incoming").iterdir())


def test_a_wrong_model_is_refused_and_never_tried_again(agent: Agent) -> None:
    assert agent.run("wrong") == 0
    assert (agent.chain(), agent.results(), agent.serves()) == ("FVTI", ["refused"], "1")
    assert "wrong answers" in FileStore(agent.root / "store").quarantined(agent.shelf["wrong"].digest)
