"""Tries, once for each version that serves, with which options it runs best here, and has its workers started anew with them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_agent.errors import EdgeError
from edge_agent.inference.context import ModelVersion
from edge_agent.inference.engine import Engine
from edge_agent.model_options import ModelOptions
from edge_agent.update.trial import memory_reason

FIRST_WAIT_S = 20.0
"""After a start, and after a new version: the board has other things to do then."""
LOOK_EVERY_S = 10.0

Say = Callable[..., None]
"""``say(kind, level, message, **data)``: an event of the agent."""


class Tuner:
    """One thread at a time, one model at a time; never while memory is short."""

    def __init__(self, engine: Engine, options: ModelOptions, say: Say, available_mib: Callable[[], float | None]) -> None:
        self._engine = engine
        self._options = options
        self._say = say
        self._available_mib = available_mib
        self._halt = threading.Event()
        self._done: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="tuner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no other trial; one that is under way ends by itself, and its answer is for the next start."""
        self._halt.set()

    def _run(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._halt.wait(wait_s):
            wait_s = LOOK_EVERY_S
            for version in self._engine.versions():
                if not self._halt.is_set() and version.digest not in self._done:
                    self._look_at(version)

    def _look_at(self, version: ModelVersion) -> None:
        if self._options.kept(version) is not None:
            self._done.add(version.digest)
            return
        if memory_reason(version.manifest, self._available_mib()):
            return
        self._done.add(version.digest)
        try:
            choice = self._options.try_out(version)
            data = {"model": version.model, "version": version.manifest.version, "reason": choice.reason}
            self._say("tuned", "info", f"{version.title}: {choice.reason}", **data)
            if self._options.kept(version) is not None and len(choice.tried) > 1:
                self._engine.renew(version.model, version.digest)
        except EdgeError as error:
            self._say("tuning_failed", "warning", f"{version.title}: {error}", model=version.model)
