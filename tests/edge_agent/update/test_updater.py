"""The driver: one update after another, cancelled, refused, on a full disk, and through power loss at any moment."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from models import TinyBundle, tiny_bundle
from simulated_host import SimulatedHost
from waiting import wait_for

from edge_agent.bundle.manifest import Manifest
from edge_agent.clock import ManualClock
from edge_agent.errors import FetchError, StoreFull, WorkerDied
from edge_agent.update.journal import FileJournal
from edge_agent.update.machine import RESTING, State, UpdateCommand, UpdateRecord
from edge_agent.update.policy import REPORTED, RetryPlan, pending
from edge_agent.update.store import FileStore
from edge_agent.update.updater import Updater
from edge_agent.values import Event, HealthSample, TrialReport
from firmware_hooks.execute import HookResult

FINE = HookResult(True, True, None, "", False)


class PowerLoss(BaseException):
    """Nothing after this happens."""


@dataclass
class Weather:
    """What the next calls meet: ``calls_left`` until the power goes (before the call takes effect, or after), a full disk."""

    calls_left: int = -1
    after_effect: bool = False
    full: bool = False
    network_down: int = 0

    @contextmanager
    def over(self, *, writes: bool = True) -> Iterator[None]:
        if self.calls_left == 0 and not self.after_effect:
            raise PowerLoss
        if writes and self.full:
            raise StoreFull("no space left")
        yield
        if self.calls_left == 0:
            raise PowerLoss
        self.calls_left -= 1


class WeatheredJournal(FileJournal):
    def __init__(self, path: Path, weather: Weather) -> None:
        super().__init__(path)
        self._weather = weather
        self.chain: list[State] = []

    def save(self, record: UpdateRecord) -> None:
        with self._weather.over():
            super().save(record)
            self.chain.append(record.state)


class WeatheredStore(FileStore):
    def __init__(self, root: Path, weather: Weather) -> None:
        super().__init__(root)
        self._weather = weather

    def set_active(self, model: str, digest: str, *, forget: str = "") -> None:
        with self._weather.over():
            super().set_active(model, digest, forget=forget)


class LocalFetcher:
    """The Fetcher port within the process: bundles come from a folder, as the updater process takes them from a file."""

    def __init__(self, store: FileStore, bundles: Callable[[str], TinyBundle], weather: Weather) -> None:
        self._store = store
        self._bundles = bundles
        self._weather = weather

    def fetch(self, command: UpdateCommand, progress: Callable[[int, int], None]) -> str:
        with self._weather.over(writes=False):
            if self._weather.network_down:
                self._weather.network_down -= 1
                raise FetchError("no route to host")
            progress(0, 100)
            if command.source == "store":
                return self._store.find(command.model, command.version)
            return self._store.adopt(self._bundles(command.version).path)

    def verify(self, command: UpdateCommand, digest: str) -> Manifest:
        with self._weather.over(writes=False):
            return self._store.unpack(digest)

    def cancel(self) -> None:
        """Nothing here takes long enough to be cancelled."""


@dataclass
class Device:
    """A device's update side on real files; ``boot`` is what happens when power comes back."""

    root: Path
    bundles: Callable[[str], TinyBundle]
    weather: Weather = field(default_factory=Weather)
    results: list[tuple[str, str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    objecting: set[str] = field(default_factory=set)
    clock: ManualClock = field(default_factory=ManualClock)

    def boot(self) -> None:
        self.weather.calls_left = -1
        self.store = WeatheredStore(self.root / "store", self.weather)
        self.store.recover()
        self.journal = WeatheredJournal(self.root / "journal.json", self.weather)
        fetcher = LocalFetcher(self.store, self.bundles, self.weather)
        self.host = SimulatedHost(self.store)
        self.updater = Updater(
            journal=self.journal,
            store=self.store,
            fetcher=fetcher,
            host=self.host,
            clock=self.clock,
            report=self.events.append,
            hooks=self._hook,
            on_result=self._result,
            watch_s=0.0,
            retry=RetryPlan(attempts=3, first_s=0.0),
            poll_s=0.001,
        )
        self.updater.recover()
        self.host.serving = {model: self.store.active(model) for model in self.store.models()}

    def _hook(self, event: str, env: Mapping[str, str]) -> HookResult:
        self.hooks.append(event)
        return FINE if event not in self.objecting else HookResult(False, False, 1, "not now", False)

    def _result(self, command: UpdateCommand, status: str, reason: str, data: Mapping[str, Any]) -> None:
        self.results.append((command.command_id, status, reason))

    def run(self) -> None:
        while self.updater.work():
            pass

    def install(self, version: str, command_id: str = "", source: str = "repository", **more: Any) -> tuple[str, ...]:
        return self.updater.submit(UpdateCommand(command_id or f"install-{version}", "m", version, source=source, **more))

    def serves(self) -> str:
        digest = self.store.active("m")
        assert self.host.serving.get("m", "") == digest
        return self.store.manifest(digest).version if digest else ""

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events if event.kind != "update_state"]


@pytest.fixture
def device(tmp_path: Path, bundles: Callable[[str], TinyBundle]) -> Device:
    made = Device(tmp_path, bundles)
    made.boot()
    assert made.install("1") == ()
    made.run()
    assert made.serves() == "1"
    made.results.clear()
    made.events.clear()
    made.hooks.clear()
    made.journal.chain.clear()
    return made


def test_a_good_version_walks_the_whole_table(device: Device) -> None:
    assert device.install("2") == ()
    device.run()
    assert device.serves() == "2"
    assert device.results == [("install-2", "done", "")]
    assert device.journal.chain == [State(s) for s in ("FETCHING", "VERIFYING", "TRYING", "ACTIVATING", "WATCHING", "IDLE", "IDLE")]
    assert device.hooks == ["pre-install", "verify", "trial", "pre-activate", "post-activate", "post-install"]
    assert device.kinds() == ["update_done"]
    assert [event.data["to"] for event in device.events if event.kind == "update_state"][-1] == "IDLE"
    assert device.store.manifest(device.store.previous("m")).version == "1"


@pytest.mark.parametrize(
    ("version", "status", "word", "banned"),
    [
        ("wrong", "refused", "wrong answers", True),
        ("heavy", "refused", "memory", False),
        ("stuck", "failed", "worker died", True),
        ("sick", "failed", "crashed", True),
        ("slow", "failed", "was slow", False),
    ],
)
def test_a_bad_version_leaves_the_old_one_serving(device: Device, version: str, status: str, word: str, banned: bool) -> None:
    device.install(version)
    device.run()
    assert device.serves() == "1"
    assert [(r[0], r[1]) for r in device.results] == [(f"install-{version}", status)]
    assert word in device.results[0][2]
    assert device.updater.record().state is State.IDLE
    digest = device.bundles(version).digest
    assert bool(device.store.quarantined(digest)) == banned
    assert not device.store.present(digest), "what will not serve takes no space"
    if banned:
        assert device.install(version, "again", digest=digest) != ()
        device.install(version, "once-more")
        device.run()
        assert device.results[-1][1] == "refused"
        assert "quarantined" in device.results[-1][2]
        assert device.host.started.count(version) <= 1


def test_a_version_that_serves_already_is_done_at_once(device: Device) -> None:
    assert device.install("1", "again") == ()
    assert device.results == [("again", "done", "it serves already")]
    assert device.journal.chain == []
    assert device.install("1", "file", source="file") == ()
    device.run()
    assert device.results[-1] == ("file", "done", "these bytes serve already")
    assert device.host.started == ["1"], "no second trial"


def test_the_same_command_twice_is_one_command(device: Device) -> None:
    assert device.install("2") == () == device.install("2")
    device.run()
    assert len(device.results) == 1
    assert device.install("2") == ()
    assert device.results == [("install-2", "done", "")] * 2, "told again, not done again"
    assert device.host.started == ["1", "2"]


def test_one_update_at_a_time(device: Device) -> None:
    device.install("2")
    reasons = device.install("3")
    assert len(reasons) == 1
    assert "install-2" in reasons[0]
    assert device.kinds() == ["update_refused"]


def test_whoever_was_told_the_result_may_send_the_next_command_at_once(device: Device) -> None:
    """From another thread, before the updater has gone on: as a broker's answer, or a script on the device, may."""
    answers: list[tuple[str, ...]] = []
    heard = threading.Event()

    def submit() -> None:
        answers.append(device.install("3"))
        heard.set()

    class Impatient(Device):
        def _result(self, command: UpdateCommand, status: str, reason: str, data: Mapping[str, Any]) -> None:
            super()._result(command, status, reason, data)
            if command.version == "2":
                threading.Thread(target=submit, daemon=True).start()
                heard.wait(0.2)

    device = Impatient(device.root, device.bundles)
    device.boot()
    device.install("2")
    device.run()
    assert heard.wait(10)
    assert answers == [()]
    device.run()
    assert device.serves() == "3"


def test_going_back_is_an_update_from_the_store(device: Device) -> None:
    device.install("2")
    device.run()
    previous = device.store.previous("m")
    assert device.install("1", "back", source="store", digest=previous) == ()
    device.run()
    assert device.serves() == "1"
    assert device.store.manifest(device.store.previous("m")).version == "2"


def test_a_deadline_that_passes_during_the_transfer_ends_it(device: Device) -> None:
    deadline = device.clock.wall_ns() + 10**9
    assert device.install("2", deadline_ns=deadline) == ()
    device.clock.advance_s(2)
    device.run()
    assert device.results[0][1] == "expired"
    assert "deadline" in device.install("2", "late", deadline_ns=deadline)[0]


def test_a_network_that_comes_back_is_waited_for(device: Device) -> None:
    device.weather.network_down = 2
    device.install("2")
    device.run()
    assert device.serves() == "2"
    device.weather.network_down = 3
    device.install("3")
    device.run()
    assert device.results[-1][:2] == ("install-3", "failed")
    assert "gave up after 3" in device.results[-1][2]
    assert device.serves() == "2"


@pytest.mark.parametrize("event", ["pre-install", "verify", "trial", "pre-activate", "post-activate"])
def test_an_operators_objection_ends_the_update(device: Device, event: str) -> None:
    device.objecting = {event}
    device.install("2")
    device.run()
    assert device.serves() == "1"
    status = "refused" if event in ("pre-install", "verify", "trial") else "failed"
    assert device.results == [("install-2", status, f"the {event} hook objects: not now")]
    assert not device.store.quarantined(device.bundles("2").digest)


@pytest.mark.parametrize("event", ["post-install", "pre-rollback", "post-rollback"])
def test_late_objections_change_nothing(device: Device, event: str) -> None:
    device.objecting = {event}
    device.install("2")
    device.run()
    device.install("sick")
    device.run()
    assert device.serves() == "2"
    assert [r[1] for r in device.results] == ["done", "failed"]


@pytest.mark.parametrize("steps", range(5))
def test_cancelled_at_any_state_the_old_one_serves(device: Device, steps: int) -> None:
    device.install("2")
    for _ in range(steps):
        device.updater.work()
    state = device.updater.record().state
    assert device.updater.cancel("install-2")
    device.run()
    assert device.serves() == "1"
    assert device.results == [("install-2", "failed", "cancelled")], state
    assert not device.updater.cancel("install-2")
    assert not device.host.candidates
    assert device.install("2", "again") == ()
    device.run()
    assert device.serves() == "2", "what was cancelled was not at fault"


@pytest.mark.parametrize("steps", range(6))
def test_a_full_disk_at_any_state_keeps_the_old_one_serving(device: Device, steps: int) -> None:
    if steps:
        device.install("2")
    for _ in range(steps - 1):
        device.updater.work()
    device.weather.full = True
    if not steps:
        assert "no space left" in device.install("2")[0]
        assert device.updater.record().state is State.IDLE
    device.run()
    assert device.host.serving["m"] == device.bundles("1").digest
    assert device.results == [], "no last word before the journal has it"
    device.weather.full = False
    device.boot()
    device.run()
    if steps:
        assert len(device.results) == 1
        assert device.updater.record().state is State.IDLE or steps == 5
    assert device.serves() in ("1", "2")
    assert device.install("3") == ()
    device.run()
    assert device.serves() == "3"


def test_when_the_disk_has_room_again_the_result_is_told_without_a_restart(device: Device) -> None:
    device.install("2")
    device.updater.work()
    device.weather.full = True
    device.run()
    assert device.updater.record().state is State.IDLE
    assert device.install("3") != ()
    device.weather.full = False
    device.run()
    assert device.results[0][:2] == ("install-2", "failed")
    assert "no space left" in device.results[0][2]


def test_a_broken_device_serves_what_it_can_and_takes_the_next_update(device: Device) -> None:
    old = device.bundles("1").digest
    device.host.refused.add(old)
    device.install("sick")
    device.run()
    assert device.updater.record().state is State.BROKEN
    assert device.results[0][1] == "failed"
    device.host.refused.clear()
    device.updater.work()
    assert device.serves() == "1", "it goes on trying"
    assert device.install("2") == ()
    device.run()
    assert device.serves() == "2"
    assert device.updater.record().state is State.IDLE


def test_damaged_files_of_the_predecessor_are_not_gone_back_to(device: Device) -> None:
    device.install("2")
    device.run()
    for path in device.store.folder(device.bundles("2").digest).glob("model.*"):
        path.write_bytes(b"")
    device.install("sick")
    device.run()
    assert device.serves() == "1"
    assert device.store.servable("m") == device.bundles("1").digest


def test_the_first_install_of_a_model_rolls_back_to_none(tmp_path: Path, bundles: Callable[[str], TinyBundle]) -> None:
    fresh = Device(tmp_path, bundles)
    fresh.boot()
    fresh.install("sick")
    fresh.run()
    assert fresh.store.models() == ()
    assert fresh.host.serving == {}
    assert fresh.results[0][1] == "failed"


def test_a_clean_stop_is_no_interruption(device: Device) -> None:
    device.install("2")
    for _ in range(4):
        device.updater.work()
    for _ in range(10):
        assert device.updater.record().state is State.WATCHING
        device.updater.stop()
        device.updater.work()
        device.boot()
    device.run()
    assert device.serves() == "2"


def test_a_trial_that_a_clean_stop_cut_short_is_begun_anew(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.install("2")
    while device.updater.record().state is not State.TRYING:
        device.updater.work()
    cut_short = TrialReport(False, 0.0, 0.0, 0.0, ("6 of 7 windows got another label",), runs=2)

    def stopped(*_: object) -> TrialReport:
        device.updater.stop()
        return cut_short

    monkeypatch.setattr(device.host, "try_candidate", stopped)
    device.updater.work()
    assert device.store.quarantined(device.bundles("2").digest) == ""
    device.boot()
    device.run()
    assert device.serves() == "2"
    assert [status for _, status, *_ in device.results] == ["done"]


def test_a_trial_that_was_cancelled_meanwhile_blames_nobody(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.install("2")
    while device.updater.record().state is not State.TRYING:
        device.updater.work()

    def cancelled(*_: object) -> TrialReport:
        command = device.updater.under_way()
        assert command is not None and device.updater.cancel(command.command_id)
        assert device.updater.interrupted
        return TrialReport(False, 0.0, 0.0, 0.0, ("6 of 7 windows got another label",), runs=2)

    monkeypatch.setattr(device.host, "try_candidate", cancelled)
    device.run()
    assert device.store.quarantined(device.bundles("2").digest) == ""
    assert device.serves() == "1"
    assert "cancelled" in device.results[0][2]


def test_a_model_that_takes_the_board_down_again_and_again_is_rolled_back(device: Device) -> None:
    device.install("2")
    for _ in range(4):
        device.updater.work()
    for _ in range(4):
        device.boot()
    assert device.updater.record().state is State.ROLLING_BACK
    assert device.host.serving["m"] == device.bundles("1").digest, "it is not started a fifth time"
    device.run()
    assert device.serves() == "1"
    assert "gave up" in device.results[0][2]
    assert device.store.quarantined(device.bundles("2").digest)


def test_a_transfer_that_gets_on_is_not_given_up(device: Device) -> None:
    device.install("2")
    record = device.updater.record()
    device.journal.save(replace(record, attempts=3))
    device.boot()
    device.run()
    assert "gave up" in device.results[0][2]


def test_a_damaged_journal_is_told_and_the_device_goes_on(device: Device) -> None:
    (device.root / "journal.json").write_text("{")
    device.boot()
    assert device.kinds() == ["update_failed"]
    assert device.serves() == "1"
    assert device.install("2") == ()


def test_a_fault_in_a_part_fails_the_update_and_not_the_device(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.host, "try_candidate", lambda *_: 1 // 0)
    device.install("2")
    device.run()
    assert device.results == [("install-2", "failed", "unexpected ZeroDivisionError: integer division or modulo by zero")]


@pytest.mark.parametrize(("blind", "serves"), [(3, "2"), (99, "1")])
def test_a_host_that_is_not_up_yet_is_waited_for_but_not_for_ever(
    device: Device, monkeypatch: pytest.MonkeyPatch, blind: int, serves: str
) -> None:
    device.install("2", watch_s=10.0)
    for _ in range(4):
        device.updater.work()
    looks = 0
    health = device.host.health

    def look(model: str) -> HealthSample:
        nonlocal looks
        looks += 1
        device.clock.advance_s(1)
        if looks <= blind:
            raise WorkerDied("not up yet")
        return health(model)

    monkeypatch.setattr(device.host, "health", look)
    device.run()
    assert device.serves() == serves


def test_a_listener_that_fails_is_told_again_by_a_thread_that_lives(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.update.updater._AGAIN_S", 0.01)
    left = ["first", "second"]
    remember = device._result

    def forgetful(*told: Any) -> None:
        if left:
            raise OSError(left.pop())
        remember(*told)

    monkeypatch.setattr(device.updater, "_on_result", forgetful)
    device.updater.start()
    device.install("2")
    assert device.updater.under_way() is not None
    wait_for(lambda: device.results)
    device.updater.stop()
    assert device.results == [("install-2", "done", "")]
    assert device.updater.under_way() is None


def test_its_thread_takes_commands_and_stops(device: Device) -> None:
    device.updater.start()
    device.install("2")
    wait_for(lambda: device.results)
    device.updater.stop()
    assert device.serves() == "2"


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("version", ["2", "sick"])
def test_power_lost_before_and_after_each_write_of_an_update(device: Device, version: str, after_effect: bool) -> None:
    for calls in range(30):
        device.results.clear()
        (device.store.root / "quarantine.json").unlink(missing_ok=True)
        device.weather.calls_left, device.weather.after_effect = calls, after_effect
        try:
            device.install(version, f"cut-{calls}")
            device.run()
        except PowerLoss:
            device.boot()
            device.run()
        else:
            break
        assert device.updater.record().state is State.IDLE
        told = {r[1] for r in device.results}
        assert len(told) <= 1
        assert device.serves() == ("2" if told == {"done"} else "1")
        if device.serves() == "2":
            device.install("1", f"back-{calls}", source="store")
            device.run()
            assert device.serves() == "1"
    assert calls > 8, "every write was met"


VERSIONS = ("1", "2", "3", "wrong", "heavy", "stuck", "sick")
SHELF_KEEPER = tempfile.TemporaryDirectory(prefix="edge-bundles-")  # gone when the tests end
SHELF = Path(SHELF_KEEPER.name)
SHELVED = {version: tiny_bundle(SHELF / f"{version}.edgemodel", name="m", version=version) for version in VERSIONS}


class PoweredDevice(RuleBasedStateMachine):
    """Any order of commands, cancellations, full disks and power cuts."""

    @initialize()
    def boot(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="edge-device-"))
        self.device = Device(self.root, lambda version: SHELVED[version])
        self.device.boot()
        self.device.install("1")
        self.device.run()
        self.count = 0
        self.kept = "1"
        self.wanted: dict[str, str] = {"install-1": "1"}

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def powered(self, act: Callable[[], object]) -> None:
        try:
            act()
        except PowerLoss:
            self.device.boot()

    @rule(version=st.sampled_from(VERSIONS))
    def order(self, version: str) -> None:
        self.count += 1
        self.wanted[f"c{self.count}"] = version
        self.powered(lambda: self.device.install(version, f"c{self.count}"))

    @rule(steps=st.integers(1, 8))
    def work(self, steps: int) -> None:
        self.powered(lambda: [self.device.updater.work() for _ in range(steps)])

    @rule()
    def cancel(self) -> None:
        command = self.device.updater.record().command
        if command is not None:
            self.device.updater.cancel(command.command_id)

    @rule(calls=st.integers(0, 12), after_effect=st.booleans())
    def work_until_the_power_goes(self, calls: int, after_effect: bool) -> None:
        self.device.weather.calls_left, self.device.weather.after_effect = calls, after_effect
        self.powered(self.device.run)
        self.device.weather.calls_left = -1

    @rule()
    def reboot(self) -> None:
        self.device.boot()

    @rule(full=st.booleans())
    def fill_or_empty_the_disk(self, full: bool) -> None:
        self.device.weather.full = full

    @precondition(lambda self: hasattr(self, "device"))
    @invariant()
    def somebody_serves(self) -> None:
        device = self.device
        record = device.updater.record()
        serving = device.host.serving.get("m", "")
        assert serving
        assert device.store.healthy(serving)
        for command_id in {r[0] for r in device.results}:
            assert len({r[1] for r in device.results if r[0] == command_id}) == 1, "one last word for each command"
        if record.state in RESTING and not pending(record) and record.command is not None:
            done = [self.wanted[r[0]] for r in device.results if r[1] == "done"]
            assert device.store.manifest(serving).version == done[-1], "the last that was told done serves"
            assert record.result.startswith(REPORTED)


PoweredDevice.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestPoweredDevice = PoweredDevice.TestCase
