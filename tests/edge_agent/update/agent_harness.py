"""An agent with nothing but its update side, as a process to be killed: ``agent_harness.py ROOT URL [VERSION]``.

Store, journal, updater process, repository and hooks are the real ones; only the serving side is simulated. What it reports goes
into ``ROOT/log.jsonl`` line by line, which survives its death. It ends when the update rests.

Files in ROOT that it heeds: ``hooks/`` scripts; ``refuse`` a digest its host cannot switch to; ``die-after`` a method of
the host after whose effect it kills itself, once. On SIGUSR1 it cancels the update and makes the file ``cancelled``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from simulated_host import SimulatedHost
from waiting import wait_for

from edge_agent.bundle.manifest import Manifest
from edge_agent.clock import SystemClock
from edge_agent.update.compatibility import DeviceFacts
from edge_agent.update.fetch_client import SubprocessFetcher
from edge_agent.update.journal import FileJournal
from edge_agent.update.machine import RESTING, UpdateCommand
from edge_agent.update.policy import pending
from edge_agent.update.request import Place
from edge_agent.update.store import FileStore
from edge_agent.update.updater import Updater
from edge_agent.values import Event, TrialReport
from firmware_hooks.execute import run_hook

FACTS = DeviceFacts("generic-x86-64", "x86_64", 1024, "1.0", {"onnx": "1.20.0"})


class MortalHost(SimulatedHost):
    """Dies after the effect of the method that ``die-after`` names, once."""

    def __init__(self, store: FileStore, root: Path) -> None:
        super().__init__(store)
        self._root = root
        refuse = root / "refuse"
        self.refused = {refuse.read_text()} if refuse.exists() else set()

    def try_candidate(self, model: str, digest: str, manifest: Manifest, folder: Path) -> TrialReport:
        report = super().try_candidate(model, digest, manifest, folder)
        self._die_after("try_candidate")
        return report

    def switch(self, model: str, digest: str) -> None:
        super().switch(model, digest)
        self._die_after(f"switch {self._store.manifest(digest).version}")

    def _die_after(self, act: str) -> None:
        order = self._root / "die-after"
        if order.exists() and order.read_text() == act:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


class Log:
    """Appends what the agent says, a line at a time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def event(self, event: Event) -> None:
        self._file.write(json.dumps({"event": event.kind, **event.data}) + "\n")

    def result(self, command: UpdateCommand, status: str, reason: str, data: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"result": status, "reason": reason, **data}) + "\n")


def main(root: Path, url: str, version: str = "") -> None:
    store = FileStore(root / "store")
    store.recover()
    place = Place(store.root, root / "metadata", url, root / "1.root.json")
    log = Log(root / "log.jsonl")
    host = MortalHost(store, root)
    updater = Updater(
        journal=FileJournal(root / "journal.json"),
        store=store,
        fetcher=SubprocessFetcher(place, FACTS, store, fetch_timeout_s=60),
        host=host,
        clock=SystemClock(),
        report=log.event,
        hooks=partial(run_hook, root / "hooks", timeout_s=20),
        on_result=log.result,
        watch_s=0.05,
        poll_s=0.01,
    )
    updater.recover()
    host.serving = {model: store.active(model) for model in store.models()}

    def cancel(_signal: int, _frame: object) -> None:
        updater.cancel("c")
        (root / "cancelled").touch()

    signal.signal(signal.SIGUSR1, cancel)
    updater.start()
    if version:
        assert updater.submit(UpdateCommand("c", "m", version)) == ()
    wait_for(lambda: updater.record().state in RESTING and not pending(updater.record()), 60, "the update to rest")
    updater.stop()
    (root / "serving").write_text(host.serving.get("m", ""))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
