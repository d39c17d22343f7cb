"""The rules of an order: when it is sent, what answers mean, when it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.protocol.messages import FINAL_STATUSES, CommandMessage, EventMessage, ModelEntry, ResultMessage, StatusMessage
from fleet_controller.inventory import Device, Inventory
from fleet_controller.rollout import RESEND_S, Phase, Rollout

S = 10**9
COMMAND = CommandMessage("c1", "deploy", {"model": "digits", "version": "2"})


def device(name: str = "a", state: str = "online", boot: str = "b1") -> Device:
    return Device(name, state, StatusMessage(name, "online", boot=boot, models=(ModelEntry("digits", "1", "", "serving"),)))


def result(status: str, *, name: str = "a", command: str = "c1", reason: str = "") -> ResultMessage:
    return ResultMessage(name, command, "deploy", status, "", reason)


def phase(rollout: Rollout) -> str:
    return rollout.targets[0].phase.value


def test_connected_devices_are_due_at_once_and_others_when_they_come() -> None:
    rollout = Rollout(COMMAND, [device("a"), device("b", "offline")], start_ns=0)
    assert rollout.due(0) == ("a",)
    rollout.see_device(device("b"), live=True)
    assert rollout.due(0) == ("a", "b")


def test_an_unanswered_order_is_sent_again_after_a_while() -> None:
    rollout = Rollout(COMMAND, [device()], start_ns=0)
    rollout.sent("a", 0)
    assert rollout.due(int((RESEND_S - 1) * S)) == ()
    assert rollout.due(int(RESEND_S * S)) == ("a",)


def test_an_accepted_order_is_sent_again_only_after_a_new_boot() -> None:
    rollout = Rollout(COMMAND, [device()], start_ns=0)
    rollout.sent("a", 0)
    rollout.see_result(result("accepted"), 1 * S)
    assert rollout.due(1000 * S) == ()
    rollout.see_device(device(), live=True)
    assert rollout.due(1000 * S) == (), "the same boot telling its state again"
    rollout.see_device(device(boot="b2"), live=False)
    rollout.see_device(replace(device(), state="offline"), live=True)
    assert rollout.due(1000 * S) == ()
    rollout.see_device(device(boot="b2"), live=True)
    assert rollout.due(1000 * S) == ("a",)


@pytest.mark.parametrize("status", FINAL_STATUSES)
def test_a_final_answer_ends_it_and_stays(status: str) -> None:
    rollout = Rollout(COMMAND, [device()], start_ns=0)
    rollout.sent("a", 0)
    assert rollout.see_result(result(status, reason="because"), 2 * S) is not None
    assert rollout.finished and rollout.succeeded == (status == "done")
    assert rollout.see_result(result("accepted"), 3 * S) is None
    rollout.give_up(4 * S)
    (target,) = rollout.targets
    assert (target.phase.value, target.reason, target.ended_ns) == (status, "because", 2 * S)


def test_answers_to_other_orders_and_of_other_devices_change_nothing() -> None:
    rollout = Rollout(COMMAND, [device()], start_ns=0)
    assert rollout.see_result(result("done", command="c2"), 0) is None
    assert rollout.see_result(result("done", name="b"), 0) is None
    assert rollout.see_result(result("marvellous"), 0) is None
    assert rollout.see_event(EventMessage("a", "", "update_state", "info", "", {"command_id": "c2", "to": "TRYING"})) is None
    assert phase(rollout) == "pending"


def test_giving_up_says_what_is_known() -> None:
    rollout = Rollout(COMMAND, [device("a", "offline"), device("b"), device("c")], start_ns=0)
    for name in "bc":
        rollout.sent(name, 0)
    rollout.see_result(result("accepted", name="c"), 0)
    rollout.see_event(EventMessage("c", "", "update_state", "info", "", {"command_id": "c1", "to": "TRYING"}))
    rollout.see_device(replace(device("b"), state="offline"), live=True)
    rollout.give_up(9 * S)
    assert [t.reason for t in rollout.targets] == [
        "was never connected in that time",
        "no answer; sent once, and it is no longer connected",
        "accepted the order and gave no result in time (last heard: TRYING)",
    ]
    assert rollout.counts() == {"silent": 3} and not rollout.succeeded


STEPS = st.one_of(
    st.tuples(st.just("result"), st.sampled_from(["accepted", *FINAL_STATUSES, "odd"])),
    st.tuples(st.just("status"), st.sampled_from(["online", "offline"])),
    st.tuples(st.just("send"), st.just("")),
    st.tuples(st.just("give up"), st.just("")),
)


@given(st.lists(STEPS, max_size=30))
def test_whatever_happens_the_first_final_answer_stands_and_nobody_is_sent_to_after_it(steps: list[tuple[str, str]]) -> None:
    rollout = Rollout(COMMAND, [device()], start_ns=0)
    ended: Phase | None = None
    for now_s, (step, word) in enumerate(steps):
        if step == "result":
            rollout.see_result(result(word), now_s * S)
        elif step == "status":
            rollout.see_device(replace(device(boot=f"b{now_s}"), state=word), live=True)
        elif step == "send":
            for name in rollout.due(now_s * S):
                rollout.sent(name, now_s * S)
        else:
            rollout.give_up(now_s * S)
        (target,) = rollout.targets
        if ended is not None:
            assert target.phase is ended
        if not target.open:
            ended = target.phase
            assert rollout.due(10**6 * S) == () and rollout.finished


def test_a_last_will_does_not_wipe_out_what_a_device_said() -> None:
    inventory = Inventory({"b": StatusMessage("b", "online", profile="rpi5")})
    inventory.see_status(StatusMessage("a", "online", profile="rpi4"), 5)
    gone = inventory.see_status(StatusMessage("a", "offline"), 6)
    assert (gone.state, gone.status.profile, gone.heard_ns) == ("offline", "rpi4", 5)
    assert [d.id for d in inventory.devices()] == ["a"], "who is only remembered is not there"
    assert inventory.see_status(StatusMessage("b", "offline"), None).status.profile == "rpi5"
    inventory.forget("a")
    assert inventory.get("a") is None
