"""What is done in each state of an update. Every act may be begun again after a crash, and ends in an outcome of the table.

The acts never decide where the update goes next and never write the journal: the driver does both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from edge_agent.bundle.manifest import Manifest
from edge_agent.clock import monotonic_s
from edge_agent.errors import BundleError, EdgeError, FetchError, ModelError, StoreError, StoreFull, TrustError, WorkerDied, WorkerHung
from edge_agent.update.health import Baseline, complaints, rate_hz, too_slow, watched_enough
from edge_agent.update.interrupt import Cancelled
from edge_agent.update.machine import Outcome, State, UpdateRecord
from edge_agent.update.policy import expired, retry_delay_s
from edge_agent.update.tools import Ended, Progress, Tools
from edge_agent.values import HealthSample, TrialReport

ROLLBACK_TRIES = 3
_MODELS_FAULT = (ModelError, WorkerDied, WorkerHung, BundleError)


class Acts:
    """One method per state with an act. Holds in memory only what a restart may forget: how the predecessor did."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._early: tuple[float, HealthSample] | None = None
        self._baseline: Baseline | None = None
        self._by_state: Mapping[State, Callable[[UpdateRecord], Ended]] = {
            State.FETCHING: self._fetch,
            State.VERIFYING: self._verify,
            State.TRYING: self._try,
            State.ACTIVATING: self._activate,
            State.WATCHING: self._watch,
            State.ROLLING_BACK: self._roll_back,
        }

    def perform(self, record: UpdateRecord) -> Ended:
        """Do the act of ``record.state``. Raises :class:`Stopped`; every other end is a value."""
        try:
            return self._by_state[record.state](record)
        except Cancelled:
            return Ended(Outcome.CANCELLED, "cancelled", "failed")
        except (TrustError, BundleError) as error:
            return _refused(str(error))
        except EdgeError as error:
            return _failed(str(error))

    def hook(self, event: str, record: UpdateRecord) -> str:
        """Run the operator's script for ``event``; the reason why it objects, empty when it does not."""
        command = record.command
        assert command is not None
        env = {
            "EDGE_EVENT": event,
            "EDGE_MODEL": command.model,
            "EDGE_VERSION": command.version,
            "EDGE_COMMAND_ID": command.command_id,
            "EDGE_STATE": record.state.value,
            "EDGE_DIGEST": record.digest,
            "EDGE_REASON": record.reason,
        }
        outcome = self._tools.hooks(event, env)
        return "" if outcome.ok else f"the {event} hook objects: {outcome.output.strip()[-300:] or 'it said nothing'}"

    def mend(self, record: UpdateRecord) -> bool:
        """In BROKEN: try again to make the model that served before serve; true when it does."""
        try:
            return self._restore(record) == ""
        except EdgeError:
            return False

    def _fetch(self, record: UpdateRecord) -> Ended:
        command = record.command
        assert command is not None
        objection = self.hook("pre-install", record)
        if objection:
            return _refused(objection)
        self._look_early(record)
        progress = Progress(record, self._tools)
        failures, freed = 0, False
        while True:
            self._tools.interrupt.check()
            if expired(command, self._tools.clock.wall_ns()):
                return Ended(Outcome.FAILED, "the command's deadline passed during the transfer", "expired")
            try:
                digest = self._tools.fetcher.fetch(command, progress)
                break
            except StoreFull as error:
                if freed:
                    self._tools.store.drop_transfers()
                    return _failed(str(error))
                freed = True
                self._tools.store.collect({record.previous})
            except FetchError as error:
                self._tools.interrupt.check()
                failures = 1 if progress.moved() else failures + 1
                delay_s = retry_delay_s(self._tools.retry, failures, self._tools.chance)
                if delay_s is None:
                    return _failed(f"{error}; gave up after {failures} attempts")
                self._tools.interrupt.wait(delay_s)
        # what is active and not trusted any more has another predecessor in the record, which may well be what is wished for
        if digest == record.previous == self._tools.store.active(command.model):
            return Ended(Outcome.FAILED, "these bytes serve already", "done")
        banned = self._tools.store.quarantined(digest)
        if banned:
            return _refused(f"{command.model}@{command.version} ({digest[:12]}) is quarantined on this device: {banned}")
        return Ended(Outcome.DONE, digest=digest)

    def _verify(self, record: UpdateRecord) -> Ended:
        assert record.command is not None
        objection = self.hook("verify", record)
        if objection:
            return _refused(objection)
        self._look_early(record)
        self._tools.interrupt.check()
        try:
            self._tools.fetcher.verify(record.command, record.digest)
        except StoreFull:
            self._tools.store.collect({record.previous, record.digest})
            self._tools.fetcher.verify(record.command, record.digest)
        except FetchError:
            self._tools.interrupt.check()  # it was killed because it was cancelled
            raise
        return Ended(Outcome.DONE)

    def _try(self, record: UpdateRecord) -> Ended:
        assert record.command is not None
        model, digest = record.command.model, record.digest
        objection = self.hook("trial", record)
        if objection:
            return _refused(objection)
        self._tools.interrupt.check()
        manifest = self._tools.store.manifest(digest)
        try:
            report = self._tools.host.try_candidate(model, digest, manifest, self._tools.store.folder(digest))
        except _MODELS_FAULT as error:
            self._ban(digest, f"failed its trial: {error}")
            return _refused(f"the trial failed: {error}")
        self._tools.interrupt.check()  # it may have been cut short: what it found out by then blames nobody
        if not report.passed:
            reasons = "; ".join(report.reasons) or "it gave no reason"
            if _blames_model(report, manifest):
                self._ban(digest, f"failed its trial: {reasons}")
            return _refused(f"the trial failed: {reasons}")
        self._measure_baseline(record)
        return Ended(Outcome.DONE)

    def _activate(self, record: UpdateRecord) -> Ended:
        assert record.command is not None
        model, digest = record.command.model, record.digest
        objection = self.hook("pre-activate", record)
        if objection:
            return _refused(objection)
        if self._tools.interrupt.cancelled:
            raise Cancelled  # an agent that stops goes on: after a clean switch it can watch the next time
        self._tools.store.set_active(model, digest)
        try:
            self._tools.host.switch(model, digest)
        except _MODELS_FAULT as error:
            self._ban(digest, f"could not be made to serve: {error}")
            raise
        return Ended(Outcome.DONE)

    def _watch(self, record: UpdateRecord) -> Ended:
        command, digest, tools = record.command, record.digest, self._tools
        assert command is not None
        banned = tools.store.quarantined(digest)
        if banned:
            return _failed(banned)  # its end was decided before an interruption
        if tools.store.active(command.model) != digest:
            return _failed("another version was made active while this one was watched")
        objection = self.hook("post-activate", record)
        if objection:
            return _failed(objection)
        begin_s = monotonic_s(tools.clock)
        watch_s = command.watch_s or tools.watch_s
        while True:
            tools.interrupt.check()
            elapsed_s = monotonic_s(tools.clock) - begin_s
            try:
                now = tools.host.health(command.model)
            except EdgeError as error:
                if elapsed_s >= watch_s:
                    return _failed(f"nothing could be seen of it while it was watched: {error}")
                tools.interrupt.wait(tools.poll_s)  # after a start it may not serve yet
                continue
            bad = complaints(self._baseline, now, elapsed_s, tools.limits)
            if bad:
                reason = f"while it was watched it {'; '.join(bad)}"
                self._ban(digest, reason)
                return _failed(reason)
            if watched_enough(self._baseline, now, elapsed_s, watch_s):
                slow = too_slow(self._baseline, now, tools.limits)
                if slow:  # no quarantine: the board may have been busy with something else
                    return _failed(f"while it was watched it {slow}")
                return Ended(Outcome.DONE, result="done")
            tools.interrupt.wait(min(tools.poll_s, max(0.01, watch_s - elapsed_s)))

    def _roll_back(self, record: UpdateRecord) -> Ended:
        self.hook("pre-rollback", record)  # it may prepare, it may not prevent
        problem = ""
        for attempt in range(ROLLBACK_TRIES):
            if attempt:
                self._tools.interrupt.wait(self._tools.poll_s)
            try:
                problem = self._restore(record)
            except EdgeError as error:
                problem = str(error)
            if not problem:
                return Ended(Outcome.DONE, result="rolled_back")
        return Ended(Outcome.FAILED, f"the previous version does not serve either: {problem}", "broken")

    def _restore(self, record: UpdateRecord) -> str:
        """Make the predecessor serve; what went wrong, empty when nothing did. Serving counts more than remembering it."""
        assert record.command is not None
        model, tools = record.command.model, self._tools
        target = record.previous
        if target and not tools.store.healthy(target):
            target = tools.store.servable(model, but=record.digest)
            if not target:
                return f"the files of {record.previous[:12]} are missing or damaged, and there is no older version"
        problem = ""
        try:
            tools.store.set_active(model, target, forget=record.digest)
        except StoreFull as error:
            with contextlib.suppress(StoreError):
                tools.store.drop_transfers()
                tools.store.collect({target})
            problem = str(error)
        except StoreError as error:
            problem = str(error)
        if target:
            tools.host.switch(model, target)
        else:
            with contextlib.suppress(EdgeError):  # a first version has no predecessor; without the pointer no start serves it again
                tools.host.switch(model, "")
        return problem

    def _ban(self, digest: str, reason: str) -> None:
        with contextlib.suppress(StoreError):  # a full disk must not keep a bad model serving
            self._tools.store.quarantine(digest, reason)

    def _look_early(self, record: UpdateRecord) -> None:
        """Note how the predecessor stands while the update prepares, so that its rate is known at the switch."""
        self._early, self._baseline = None, None
        if record.previous and record.command:
            with contextlib.suppress(EdgeError):
                self._early = (monotonic_s(self._tools.clock), self._tools.host.health(record.command.model))

    def _measure_baseline(self, record: UpdateRecord) -> None:
        if self._early is None or record.command is None:
            return
        early_s, early = self._early
        with contextlib.suppress(EdgeError):
            now = self._tools.host.health(record.command.model)
            self._baseline = Baseline(now, rate_hz(early, now, monotonic_s(self._tools.clock) - early_s))


def _blames_model(report: TrialReport, manifest: Manifest) -> bool:
    """Whether the trial failed by the model's own fault. Being over budget can be the board's: it may be busy now and not later."""
    if report.transient:
        return False
    needs = manifest.requires
    slow = 0 < needs.latency_p95_ms < report.latency_p95_ms
    large = 0 < needs.peak_rss_mib < report.peak_rss_mib
    return len(report.reasons) > int(slow) + int(large)


def _failed(reason: str) -> Ended:
    return Ended(Outcome.FAILED, reason, "failed")


def _refused(reason: str) -> Ended:
    return Ended(Outcome.FAILED, reason, "refused")
