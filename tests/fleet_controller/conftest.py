"""Brokers and simulated devices for the tests of the fleet side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Broker, embedded, mosquitto
from fleet_device import SimulatedDevice

from fleet_controller.__main__ import main


@pytest.fixture(scope="module", params=["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A running broker, of each kind there is; one for all tests of a module."""
    start = {"embedded": embedded, "mosquitto": mosquitto}[request.param]
    with start(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def device(broker: Broker) -> Iterator[Callable[..., SimulatedDevice]]:
    """Makes devices; all are gone from the broker after the test."""
    made: list[SimulatedDevice] = []

    def make(name: str, **options: Any) -> SimulatedDevice:
        made.append(SimulatedDevice(broker.port, name, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    sweep(broker.port, [one.name for one in made])


def sweep(port: int, names: list[str]) -> None:
    """Remove the retained statuses of ``names``."""
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for name in names:
        client.publish(f"edge/v1/{name}/status", b"", qos=1, retain=True).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def fleet(broker: Broker, tmp_path: Path) -> Callable[..., int]:
    """Runs ``edge-fleet COMMAND`` against the broker, in this process; returns the exit status."""

    def run(*words: str) -> int:
        return main([*words, "--broker", f"127.0.0.1:{broker.port}", "--state", str(tmp_path / "state")])

    return run
