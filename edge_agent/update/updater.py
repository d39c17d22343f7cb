"""The driver of updates: walks the table, writes the journal before every act, tells what became of it.

One thread does the acts; ``submit`` and ``cancel`` come from any other. Where the update stands is what the journal says. When the
journal cannot be written (a full disk), the update fails and the old model serves; the memory may then be ahead of the journal, and that is
safe because every state the journal can still hold resumes to the same end. No final word is given before the journal has it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edge_agent.clock import Clock
from edge_agent.errors import BundleError, EdgeError, StoreError, StoreFull
from edge_agent.ports import Fetcher, Journal, ModelHost, Reporter
from edge_agent.update.acts import Acts
from edge_agent.update.health import Limits
from edge_agent.update.interrupt import Interrupt, Stopped
from edge_agent.update.machine import RESTING, Outcome, State, UpdateCommand, UpdateRecord, advance, resume
from edge_agent.update.policy import REPORTED, RetryPlan, admit, already_active, pending
from edge_agent.update.tools import POLL_S, Ended, RunHook, Tools, UpdateStore
from edge_agent.values import Event

OnResult = Callable[[UpdateCommand, str, str, Mapping[str, Any]], None]
"""Takes (command, status, reason, data); status is done, refused, failed or expired. It must remember durably: it is not told twice."""

_AGAIN_S = 5.0
_MEND_S = 30.0
_STATUS = {"done": "done", "refused": "refused", "expired": "expired", "failed": "failed", "rolled_back": "failed", "broken": "failed"}
_EVENTS = {"done": ("update_done", "info"), "refused": ("update_refused", "warning"), "expired": ("update_refused", "warning")}
_EVENTS |= {"failed": ("update_failed", "error"), "broken": ("update_failed", "error"), "rolled_back": ("update_rolled_back", "error")}


class Updater:
    """One update at a time, for all models of the device."""

    def __init__(
        self,
        *,
        journal: Journal,
        store: UpdateStore,
        fetcher: Fetcher,
        host: ModelHost,
        clock: Clock,
        report: Reporter,
        hooks: RunHook,
        on_result: OnResult,
        watch_s: float,
        retry: RetryPlan | None = None,
        limits: Limits | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._journal = journal
        self._store = store
        self._fetcher = fetcher
        self._host = host
        self._clock = clock
        self._report = report
        self._on_result = on_result
        self._interrupt = Interrupt()
        tools = Tools(store, fetcher, host, clock, hooks, self._interrupt, self._made_progress, watch_s, poll_s)
        self._acts = Acts(replace(tools, retry=retry or tools.retry, limits=limits or tools.limits))
        self._lock = threading.RLock()
        self._telling = threading.RLock()  # taken before the other one
        self._record: UpdateRecord | None = None
        self._saved: UpdateRecord | None = None
        self._thread: threading.Thread | None = None
        self._mended = True
        self._log = logging.getLogger(__name__)

    def recover(self) -> UpdateRecord:
        """Read the journal after a start and say where to go on; call it before the models are started.

        The interruption is counted before anything acts, and a model that is to be rolled back is not started again. A journal that
        the disk does not give is an event, and nothing is under way then: models must serve all the same.
        """
        with self._lock:
            if self._record is not None:
                return self._record
            before = self._load()
            record = resume(before, now_ns=self._clock.wall_ns())
            if before.state is State.WATCHING and record.state is State.ROLLING_BACK:
                with contextlib.suppress(StoreError):
                    self._store.quarantine(record.digest, record.reason)
            self._saved = self._record = before
            self._mended = record.state is not State.BROKEN
            if before.command is None and before.reason:
                self._report(Event("update_failed", "error", before.reason, self._clock.wall_ns()))
            if record != before:
                self._enter(record)
            if record.state is State.ROLLING_BACK and record.command and (not record.previous or self._store.healthy(record.previous)):
                with contextlib.suppress(StoreError):
                    self._store.set_active(record.command.model, record.previous, forget=record.digest)
            return record

    def start(self) -> None:
        """Take up what the journal says and wait for commands. The host must be ready to be asked."""
        self.recover()
        self._thread = threading.Thread(target=self._run, name="updater", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the thread. An update under way stays in the journal; a clean stop does not count as an interruption."""
        self._interrupt.stop()
        self._fetcher.cancel()
        if self._thread is not None:
            self._thread.join(timeout_s)

    @property
    def interrupted(self) -> bool:
        """Whether the update under way was taken back, or the agent ends: then nobody waits for what it finds out."""
        return self._interrupt.wanted

    def record(self) -> UpdateRecord:
        """Where the update is, or how the last one ended."""
        return self.recover()

    def under_way(self) -> UpdateCommand | None:
        """The command that still owes its last word, if any."""
        record = self.recover()
        return record.command if record.state not in RESTING or pending(record) else None

    def submit(self, command: UpdateCommand) -> tuple[str, ...]:
        """Every reason why ``command`` is refused; empty when it is admitted, which is durable then.

        A command whose id is that of the current or last one is that one. What already serves is answered with ``done`` at once.
        """
        with self._telling, self._lock:
            record = self.recover()
            if record.command is not None and record.command.command_id == command.command_id:
                if record.state in RESTING and not pending(record):
                    self._tell(record)
                return ()
            try:
                reasons = self._admit(command, record)
            except StoreError as error:
                reasons = (str(error),)
            if reasons:
                self._emit("update_refused", "warning", f"{_name(command)} refused: {'; '.join(reasons)}", command, reasons=list(reasons))
            return reasons

    def cancel(self, command_id: str) -> bool:
        """Take a command back while its update is under way; true when there was something to take back."""
        with self._lock:
            record = self.recover()
            if record.command is None or record.command.command_id != command_id:
                return False
            if record.state in RESTING or record.state is State.ROLLING_BACK:
                return False
            self._interrupt.cancel()
        self._fetcher.cancel()
        return True

    def _load(self) -> UpdateRecord:
        try:
            return self._journal.load()
        except StoreError as error:
            return UpdateRecord(State.IDLE, reason=f"what update was under way is not known: {error}")

    def _admit(self, command: UpdateCommand, record: UpdateRecord) -> tuple[str, ...]:
        active = self._store.active(command.model)
        digest = command.digest or (self._store.find(command.model, command.version) if command.source == "store" else "")
        banned = self._store.quarantined(digest) if digest else ""
        reasons = admit(command, record, now_ns=self._clock.wall_ns(), quarantined=banned)
        if reasons:
            return reasons
        manifest = None
        with contextlib.suppress(StoreError, BundleError):
            manifest = self._store.manifest(active) if active else None
        served = self._served(command.model)
        same = served and already_active(command, manifest, active)
        if same and record.state is not State.BROKEN:
            data = {"model": command.model, "version": command.version, "digest": active, "rolled_back": False}
            self._emit("update_done", "info", f"{_name(command)} serves already", command)
            self._on_result(command, "done", "it serves already", data)
            return ()
        # What is broken is nothing to go back to, and to bring it anew is no vain wish.
        to_distrust = same or not served or (active and self._store.quarantined(active))
        previous = self._store.previous(command.model) if to_distrust else active
        fresh = UpdateRecord(record.state, command, previous=previous)
        admitted = advance(fresh, Outcome.ADMITTED, now_ns=self._clock.wall_ns())
        problem = self._save(admitted)
        if problem:
            return (problem,)
        self._interrupt.forget()
        self._enter(admitted)
        self._interrupt.wake()
        return ()

    def _served(self, model: str) -> bool:
        """Whether any version of ``model`` serves: a pointer may name one whose files the disk has damaged."""
        try:
            self._host.health(model)
        except EdgeError:
            return False
        return True

    def work(self) -> bool:
        """Do what is due: one act, or one result to tell. False when nothing is, until a command or some time comes."""
        record = self.recover()
        if pending(record):
            return self._conclude(record)
        if record.state in RESTING:
            if not self._mended:
                self._mend(record)
            return False
        try:
            ended = self._acts.perform(record)
        except Stopped:
            # a trial that nothing went wrong with is begun anew; from its own state it would count as one that took the board down
            state = State.VERIFYING if record.state is State.TRYING else record.state
            self._save(replace(record, state=state, attempts=record.attempts - 1))
            return False
        except Exception as error:  # whatever it was, the old model must serve and the next update must be possible
            ended = Ended(Outcome.FAILED, f"unexpected {type(error).__name__}: {error}", "failed")
        self._move(record, ended)
        return True

    def _run(self) -> None:
        while not self._interrupt.stopping:
            try:
                busy = self.work()
            except Exception:  # whoever listens to results or events failed; the thread must outlive that
                self._log.exception("the update stands still and is taken up again")
                busy = False
            if not busy:
                pause_s = _AGAIN_S if pending(self.record()) else None if self._mended else _MEND_S
                self._interrupt.wait(pause_s)

    def _mend(self, record: UpdateRecord) -> None:
        self._mended = self._acts.mend(record)
        if self._mended and record.command is not None:
            self._emit("update_rolled_back", "warning", f"{record.command.model}: the version before serves again", record.command)

    def _move(self, record: UpdateRecord, ended: Ended) -> None:
        """Go where the table says; where the journal cannot follow, a success is a failure."""
        target = self._after(record, ended)
        problem = self._save(target)
        if problem and ended.outcome is Outcome.DONE and record.state is not State.ROLLING_BACK:
            target = self._after(record, Ended(Outcome.FAILED, problem, "failed"))
        self._enter(target)

    def _after(self, record: UpdateRecord, ended: Ended) -> UpdateRecord:
        target = advance(record, ended.outcome, now_ns=self._clock.wall_ns(), reason=ended.reason)
        resting = target.state in RESTING
        return replace(target, digest=ended.digest or record.digest, result=ended.result if resting else "")

    def _enter(self, target: UpdateRecord) -> None:
        with self._lock:
            before, self._record = self._record, target
        if target != self._saved:
            self._save(target)
        if before is None or before.state is target.state or target.command is None:
            return
        text = f"{_name(target.command)}: {before.state.value} to {target.state.value}"
        data = {"from": before.state.value, "to": target.state.value, "reason": target.reason}
        self._emit("update_state", "info", f"{text} ({target.reason})" if target.reason else text, target.command, **data)

    def _save(self, record: UpdateRecord) -> str:
        """Why the journal could not be written, empty when it was. Space is made by giving up what no update needs."""
        for last in (False, True):
            try:
                self._journal.save(record)
                self._saved = record
                return ""
            except StoreError as error:
                if last or not isinstance(error, StoreFull):
                    return f"the update's journal cannot be written: {error}"
                with contextlib.suppress(StoreError):
                    self._store.drop_transfers()
                    self._store.collect({record.digest, record.previous})
        raise AssertionError

    def _conclude(self, record: UpdateRecord) -> bool:
        """Tell the result, once the journal has it; false when that has to wait."""
        assert record.command is not None
        if record != self._saved and self._save(record):
            return False
        final = replace(record, result=record.result or "failed")
        if final.result != "done":
            with contextlib.suppress(EdgeError):
                self._host.discard(record.command.model)
        with self._telling:  # a command that follows the result at once must find this update told
            try:
                self._tell(final)
            except EdgeError:
                return False  # whoever remembers results cannot, now
            with self._lock:
                self._record = replace(final, result=REPORTED + final.result)
                self._save(self._record)
        self._mended = final.state is not State.BROKEN
        if final.result in ("done", "rolled_back", "broken"):
            self._acts.hook("post-install" if final.result == "done" else "post-rollback", final)
        with contextlib.suppress(StoreError):
            if final.result == "done":
                self._store.drop_transfers()
            self._store.collect({final.previous} if final.state is State.BROKEN else frozenset())
        return True

    def _tell(self, record: UpdateRecord) -> None:
        command = record.command
        assert command is not None
        result = record.result.removeprefix(REPORTED)
        data = {"model": command.model, "version": command.version, "digest": record.digest, "previous": record.previous}
        more = {"state": record.state.value, "rolled_back": result == "rolled_back"}
        self._on_result(command, _STATUS[result], record.reason, {**data, **more})
        if record.result.startswith(REPORTED):
            return
        kind, level = _EVENTS[result]
        text = f"{_name(command)} {result.replace('_', ' ')}"
        self._emit(kind, level, f"{text}: {record.reason}" if record.reason else text, command, reason=record.reason)

    def _made_progress(self) -> None:
        """A transfer that gets further is not stuck, however often it is interrupted."""
        with self._lock:
            record = self._record
            if record is not None and record.attempts > 0:
                self._record = replace(record, attempts=0)
                self._save(self._record)

    def _emit(self, kind: str, level: str, message: str, command: UpdateCommand, **data: Any) -> None:
        about = {"command_id": command.command_id, "model": command.model, "version": command.version}
        self._report(Event(kind, level, message, self._clock.wall_ns(), {**about, **data}))


def _name(command: UpdateCommand) -> str:
    return f"{command.model}@{command.version}"
