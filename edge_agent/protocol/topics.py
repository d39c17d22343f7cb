"""MQTT topics: ``<prefix>/<device>/<kind>[/<rest>]``. The default prefix is ``edge/v1``."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_PREFIX = "edge/v1"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def valid_word(text: str) -> bool:
    """Whether ``text`` may be a device, model or pipeline name: 1-64 of letters, digits, ``. _ -``, not starting with a sign."""
    return _WORD.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one device."""

    device: str
    prefix: str = DEFAULT_PREFIX

    @property
    def base(self) -> str:
        return f"{self.prefix}/{self.device}"

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def metrics(self) -> str:
        return f"{self.base}/metrics"

    @property
    def events(self) -> str:
        return f"{self.base}/events"

    @property
    def command(self) -> str:
        return f"{self.base}/command"

    @property
    def result(self) -> str:
        return f"{self.base}/result"

    @property
    def ack(self) -> str:
        return f"{self.base}/ack"

    def predictions(self, pipeline: str) -> str:
        return f"{self.base}/predictions/{pipeline}"


@dataclass(frozen=True, slots=True)
class ParsedTopic:
    """A received topic taken apart."""

    device: str
    kind: str
    rest: str


def parse(topic: str, prefix: str = DEFAULT_PREFIX) -> ParsedTopic | None:
    """The parts of ``topic``, or ``None`` when it is not one of ours."""
    if not topic.startswith(prefix + "/"):
        return None
    parts = topic[len(prefix) + 1 :].split("/", 2)
    if len(parts) < 2 or not valid_word(parts[0]):
        return None
    return ParsedTopic(parts[0], parts[1], parts[2] if len(parts) == 3 else "")
