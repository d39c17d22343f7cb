"""The table: total, and walked by brute force with power loss before and after each effect."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from edge_agent.update.machine import (
    GIVE_UP,
    MAX_ATTEMPTS,
    RESTING,
    RESUME,
    TRANSITIONS,
    IllegalTransition,
    Outcome,
    State,
    UpdateCommand,
    UpdateRecord,
    advance,
    resume,
    step,
)

COMMAND = UpdateCommand("c", "m", "2")
OLD, NEW = "old", "new"


@pytest.mark.parametrize(("state", "outcome"), list(itertools.product(State, Outcome)))
def test_every_pair_is_in_the_table_or_illegal(state: State, outcome: Outcome) -> None:
    admits = outcome is Outcome.ADMITTED
    if admits == (state in RESTING):
        assert step(state, outcome) in State
    else:
        assert (state, outcome) not in TRANSITIONS
        with pytest.raises(IllegalTransition, match=state.value):
            step(state, outcome)


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_resumed_and_given_up(state: State) -> None:
    record = UpdateRecord(state, COMMAND)
    for _ in range(2 * MAX_ATTEMPTS + 2):
        record = resume(record, now_ns=1)
        assert record.state in {state, RESUME[state], GIVE_UP.get(state)}
    assert record.state in RESTING or record.state is State.ROLLING_BACK, "no state but the way back survives endless interruptions"


def test_the_first_reason_is_kept() -> None:
    watching = UpdateRecord(State.WATCHING, COMMAND)
    back = advance(watching, Outcome.FAILED, now_ns=1, reason="too slow")
    assert resume(back, now_ns=2).reason == "too slow"
    assert advance(back, Outcome.FAILED, now_ns=3, reason="and worse").reason == "too slow"


@dataclass(frozen=True)
class World:
    """The journal on disk, the record in memory (they differ when a write failed), the pointer, and what has been proven and told."""

    disk: UpdateRecord
    memory: UpdateRecord
    pointer: str = OLD
    tried: bool = False
    watched: bool = False
    committed: bool = False
    rolled_back: bool = False


def effects(world: World) -> World:
    """The world after the act of the state has done all it does."""
    state = world.memory.state
    if state is State.TRYING:
        return replace(world, tried=True)
    if state is State.ACTIVATING:
        return replace(world, pointer=NEW)
    if state is State.WATCHING:
        return replace(world, watched=True)
    if state is State.ROLLING_BACK:
        return replace(world, pointer=OLD)
    return world


def moved(world: World, outcome: Outcome) -> Iterator[World]:
    """The journal follows, or it does not: then a success is a failure, and the memory goes on alone."""
    target = replace(advance(world.memory, outcome, now_ns=0), since_ns=0, reason="")
    was = world.memory.state
    if not (was is State.WATCHING and outcome is Outcome.DONE and world.pointer != NEW):
        committed = world.committed or (was is State.WATCHING and outcome is Outcome.DONE)
        back = world.rolled_back or (was is State.ROLLING_BACK and target.state is State.IDLE)
        yield replace(world, disk=target, memory=target, committed=committed, rolled_back=back)
    unsaved = outcome if outcome is not Outcome.DONE or was is State.ROLLING_BACK else Outcome.FAILED
    alone = replace(advance(world.memory, unsaved, now_ns=0), since_ns=0, reason="")
    if alone.state not in RESTING:
        yield replace(world, memory=alone)  # at rest nothing is told before the journal has it, so that is the same as power loss


def restarted(world: World) -> World:
    record = replace(resume(world.disk, now_ns=0), since_ns=0, reason="")
    lost_trial = world.disk.state is State.TRYING
    lost_watch = record.state is State.WATCHING
    tried, watched = world.tried and not lost_trial, world.watched and not lost_watch
    return replace(world, disk=record, memory=record, tried=tried, watched=watched)


def after(world: World) -> Iterator[World]:
    yield restarted(world)
    state = world.memory.state
    if state in RESTING:
        return
    done = effects(world)
    yield restarted(done)
    half_way = (world, done)
    if state is State.WATCHING and world.pointer != NEW:
        yield from moved(world, Outcome.FAILED)  # what is watched does not serve: the watch refuses to go on
        return
    yield from moved(done, Outcome.DONE)
    for broken, outcome in itertools.product(half_way, (Outcome.FAILED, Outcome.CANCELLED)):
        if state is State.ROLLING_BACK and outcome is Outcome.CANCELLED:
            continue  # the driver offers no way to cancel a roll-back
        yield from moved(replace(broken, watched=world.watched), outcome)


def walk() -> tuple[set[World], list[World]]:
    """Every reachable world, and those at rest in which neither the old serves nor the proven new."""
    first = advance(UpdateRecord(State.IDLE, COMMAND, digest=NEW, previous=OLD), Outcome.ADMITTED, now_ns=0)
    start = World(first, first)
    seen, queue, wrong = {start}, deque([start]), []
    while queue:
        world = queue.popleft()
        if world.memory.state is State.IDLE:
            proven = world.tried and world.watched and world.committed
            mixed = world.committed and (world.pointer == OLD or world.rolled_back)
            if mixed or not (world.pointer == OLD or proven):
                wrong.append(world)
        fresh = {following for following in after(world) if following not in seen}
        seen |= fresh
        queue.extend(fresh)
    return seen, wrong


def test_whatever_happens_at_rest_the_old_serves_or_the_proven_new() -> None:
    seen, wrong = walk()
    assert {world.memory.state for world in seen} == set(State)
    assert {world.disk.attempts for world in seen} == set(range(MAX_ATTEMPTS + 1))
    assert wrong == []


@pytest.mark.parametrize(
    ("state", "target"), [(State.ACTIVATING, State.IDLE), (State.ACTIVATING, State.WATCHING), (State.WATCHING, State.IDLE)]
)
def test_the_walk_finds_a_wrong_table(monkeypatch: pytest.MonkeyPatch, state: State, target: State) -> None:
    monkeypatch.setattr("edge_agent.update.machine.RESUME", {**RESUME, state: target})
    if target is State.WATCHING:
        monkeypatch.setattr("edge_agent.update.machine.TRANSITIONS", {**TRANSITIONS, (State.WATCHING, Outcome.FAILED): State.IDLE})
    assert walk()[1]
