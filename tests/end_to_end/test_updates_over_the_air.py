"""The whole product on real brokers: deploy, refuse, roll back, kill; nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from brokers import Broker, embedded, mosquitto
from end_to_end.household import Household, kill_hard, tool
from models import tiny_bundle
from waiting import wait_for

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(180)]


@pytest.fixture(params=[pytest.param(embedded, id="embedded"), pytest.param(mosquitto, id="mosquitto", marks=pytest.mark.mosquitto)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    start: Callable[[Path], AbstractContextManager[Broker]] = request.param
    with start(tmp_path / "broker") as running:
        yield running


def test_a_fleet_is_updated_refuses_what_is_wrong_and_goes_back(household: Household, broker: Broker, tmp_path: Path) -> None:
    household.broker_port = broker.port
    first, second = tiny_bundle(tmp_path / "1.edgemodel", version="1"), tiny_bundle(tmp_path / "2.edgemodel", version="2", seed=2)
    wrong = tiny_bundle(tmp_path / "3.edgemodel", version="3", seed=3, wrong=True)
    tool("edge-fleet", "init", household.repo)
    for bundle in (first, second, wrong):
        household.publish(bundle.path)
    household.start_repository()
    household.write_config(bundle=first.path)
    household.start_agent()
    household.wait_answers()

    devices = json.loads(household.fleet("devices", "--json").stdout)
    assert [d["device"] for d in devices] == ["dev"]

    household.fleet("deploy", "tiny@2", "--to", "all")
    assert household.model()["version"] == "2"
    household.wait_answers()

    refused = household.fleet("deploy", "tiny@3", "--to", "dev", expect=1)
    assert "golden" in refused.stdout
    assert household.model()["version"] == "2"

    kill_hard(household.pid("worker:"))
    household.wait_answers()

    household.fleet("rollback", "tiny", "--to", "all")
    assert household.model()["version"] == "1"
    household.wait_answers()
    versions = [line["version"] for line in household.lines()]
    assert [v for i, v in enumerate(versions) if i == 0 or versions[i - 1] != v] == ["1", "2", "1"]
    household.assert_nothing_lost()


def test_a_broker_that_dies_and_comes_back_loses_no_result(household: Household, tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        household.broker_port = broker.port
        household.write_config(bundle=tiny_bundle(tmp_path / "1.edgemodel").path, repository=False)
        household.start_agent()
        household.wait_answers()
        broker.kill()
        wait_for(lambda: not household.status()["broker"]["connected"], 20, "the loss is seen")
        household.wait_answers()
        broker.start()
        wait_for(lambda: household.status()["broker"]["connected"], 60, "the broker is found again")
        household.fleet("ping", "--to", "all")
        household.assert_nothing_lost()
