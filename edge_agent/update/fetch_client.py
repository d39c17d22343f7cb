"""The control process's end of the updater process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from edge_agent.bundle.manifest import Manifest
from edge_agent.errors import FetchError, StoreError
from edge_agent.ports import Store
from edge_agent.update.compatibility import DeviceFacts
from edge_agent.update.machine import UpdateCommand
from edge_agent.update.request import Place, Request, decode_error, encode_request

_WORDS_BYTES = 4096
_MAX_LINE_CHARS = 1 << 16


class SubprocessFetcher:
    """The Fetcher port: every fetch and verify is a process of its own that ends with this one.

    ``fetch_timeout_s`` bounds one whole fetch or verify. One call at a time; :meth:`cancel` comes from any thread.
    """

    def __init__(self, place: Place, facts: DeviceFacts, store: Store, *, fetch_timeout_s: float = 3600.0) -> None:
        self._place = place
        self._facts = facts
        self._store = store
        self._timeout_s = fetch_timeout_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._ended_why = ""

    @property
    def pid(self) -> int | None:
        """The updater process now running, if any."""
        with self._lock:
            return self._child.pid if self._child else None

    def fetch(self, command: UpdateCommand, progress: Callable[[int, int], None]) -> str:
        return self._ask(Request("fetch", command, self._place, self._facts, parent=os.getpid()), progress)

    def verify(self, command: UpdateCommand, digest: str) -> Manifest:
        request = Request("verify", command, self._place, self._facts, digest=digest, parent=os.getpid())
        return self._store.manifest(self._ask(request, lambda _done, _total: None))

    def cancel(self) -> None:
        self._end("the transfer was cancelled")

    def _end(self, why: str) -> None:
        with self._lock:
            if self._child is not None:
                self._ended_why = self._ended_why or why
                # Nothing to say goodbye to: every write of the updater survives a kill, because it must survive a power cut.
                self._child.kill()

    def _ask(self, request: Request, progress: Callable[[int, int], None]) -> str:
        child = self._start()
        alarm = threading.Timer(self._timeout_s, self._end, (f"not done after {self._timeout_s:.0f} s",))
        alarm.daemon = True
        alarm.start()
        words: list[bytes] = []
        listener = threading.Thread(target=lambda: words.append(_tail(child.stderr)), name="updater-words", daemon=True)
        listener.start()
        try:
            return self._converse(child, request, progress)
        except _NoAnswer:
            listener.join()
            raise self._silence(child, b"".join(words)) from None
        finally:
            alarm.cancel()
            child.kill()
            child.wait()
            with self._lock:
                self._child = None
            listener.join()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "edge_agent.updater_process"]
        pipe = subprocess.PIPE
        try:
            with self._lock:
                self._ended_why = ""
                # not where the agent was started: Python looks for modules in the current folder first
                self._child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/")
                return self._child
        except OSError as error:
            raise FetchError(f"cannot start the updater process: {error}") from error

    def _converse(self, child: subprocess.Popen[bytes], request: Request, progress: Callable[[int, int], None]) -> str:
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(encode_request(request))
            child.stdin.close()
        except BrokenPipeError:
            raise _NoAnswer from None
        while line := child.stdout.readline(_MAX_LINE_CHARS):
            tree = _parsed(line)
            if "progress" in tree:
                done_bytes, total_bytes = tree["progress"]
                progress(int(done_bytes), int(total_bytes))
            elif "error" in tree:
                raise decode_error(tree)
            else:
                return str(tree["digest"])
        raise _NoAnswer

    def _silence(self, child: subprocess.Popen[bytes], words: bytes) -> FetchError | StoreError:
        status = child.wait()
        with self._lock:
            why = self._ended_why
        if why:
            return FetchError(why)
        if status < 0:
            return FetchError(f"the updater process was killed by signal {-status}")
        last = words.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        return StoreError(f"the updater process failed with status {status}: {last[0]}")


class _NoAnswer(Exception):
    """The process ended without a result or an error."""


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(line)
    except ValueError:
        raise _NoAnswer from None
    if not isinstance(tree, dict):
        raise _NoAnswer
    return tree


def _tail(pipe: IO[bytes] | None) -> bytes:
    """The last words on ``pipe``, read until it closes."""
    kept = b""
    while pipe is not None and (chunk := pipe.read(_WORDS_BYTES)):
        kept = (kept + chunk)[-_WORDS_BYTES:]
    return kept
