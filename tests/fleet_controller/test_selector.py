"""Who is meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.protocol.messages import ModelEntry, StatusMessage
from fleet_controller.errors import NobodyMatches, SelectorError
from fleet_controller.inventory import Device
from fleet_controller.selector import parse_selector, select


def device(name: str, *, state: str = "online", profile: str = "rpi4", version: str = "1.0.0", **labels: str) -> Device:
    models = (ModelEntry("digits", version, "", "serving"),)
    return Device(name, state, StatusMessage(name, state, profile=profile, arch="aarch64", models=models, labels=labels))


FLEET = (
    device("press-1", site="lab"),
    device("press-2", profile="rpi5", site="field"),
    device("drill-1", state="offline", version="2.0.0", site="lab", line="a=b"),
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", "press-1 press-2 drill-1"),
        ("press-1", "press-1"),
        ("id=press-1", "press-1"),
        ("press-*", "press-1 press-2"),
        ("*-[!2]", "press-1 drill-1"),
        ("profile=rpi4", "press-1 drill-1"),
        ("state=offline", "drill-1"),
        ("arch=aarch64", "press-1 press-2 drill-1"),
        ("label.site=lab", "press-1 drill-1"),
        ("label.site=*", "press-1 press-2 drill-1"),
        ("label.line=a=b", "drill-1"),
        ("model=digits", "press-1 press-2 drill-1"),
        ("model=digits@2.*", "drill-1"),
        ("profile=rpi4, label.site=lab, press-*", "press-1"),
    ],
)
def test_selects(text: str, names: str) -> None:
    assert " ".join(d.id for d in select(FLEET, parse_selector(text))) == names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "an empty condition"),
        ("press-1,", "an empty condition"),
        ("profil=rpi4", "unknown key 'profil'; use id, profile, arch, state, model or label.NAME"),
        ("label.=x", "unknown key 'label.'"),
        ("profile=", "profile= needs a value"),
        ("=x", "unknown key ''"),
    ],
)
def test_what_does_not_parse_is_named(text: str, told: str) -> None:
    with pytest.raises(SelectorError, match=re.escape(told)):
        parse_selector(text)


@pytest.mark.parametrize("text", ["Press-1", "label.absent=*", "profile=rpi4,state=gone"])
def test_nobody_is_an_error_that_names_who_is_there(text: str) -> None:
    with pytest.raises(NobodyMatches, match="known: press-1, press-2, drill-1"):
        select(FLEET, parse_selector(text))


WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(lambda word: word != "all")


@given(WORDS, WORDS)
def test_a_plain_name_selects_that_device_alone(name: str, other: str) -> None:
    selector = parse_selector(name)
    assert selector.matches(device(name))
    assert selector.matches(device(other)) == (name == other)


@given(st.text(max_size=60))
def test_any_text_parses_to_something_that_reads_the_same_or_is_refused(text: str) -> None:
    try:
        selector = parse_selector(text)
    except SelectorError:
        return
    again = parse_selector(str(selector))
    assert again == selector
    assert [again.matches(d) for d in FLEET] == [selector.matches(d) for d in FLEET]


@given(st.lists(st.sampled_from(["press-*", "profile=rpi4", "label.site=lab", "all", "state=online"]), min_size=1, max_size=4))
def test_conditions_only_narrow(parts: list[str]) -> None:
    chosen = [d for d in FLEET if parse_selector(",".join(parts)).matches(d)]
    for part in parts:
        assert all(parse_selector(part).matches(d) for d in chosen)
