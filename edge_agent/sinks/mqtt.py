"""Predictions to MQTT, through the function the agent gives (which queues on disk while the broker is away)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.errors import SinkError
from edge_agent.values import Prediction

Publish = Callable[[str, Prediction], None]
"""Takes the last word of the topic and the prediction; must not block."""


def open_sink(name: str, options: Mapping[str, Any], publish: Publish | None) -> MqttSink:
    """A sink that publishes under ``topic``; without that option, under the prediction's pipeline."""
    if publish is None:
        raise SinkError(f"sink {name}: needs the MQTT connection, and the configuration has no [mqtt] host")
    return MqttSink(name, str(options.get("topic", "")), publish)


class MqttSink:
    """Hands each prediction on; keeps nothing."""

    def __init__(self, name: str, topic: str, publish: Publish) -> None:
        self.name = name
        self._topic, self._publish = topic, publish

    def emit(self, prediction: Prediction) -> None:
        self._publish(self._topic or prediction.pipeline, prediction)

    def flush(self) -> None:
        """Nothing is held here."""

    def close(self) -> None:
        """Nothing is held here."""
