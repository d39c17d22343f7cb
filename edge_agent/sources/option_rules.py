"""Rules for the values of options that only sources have. See option_check."""

from __future__ import annotations

import math
from typing import Any

from edge_agent.option_check import Rule
from edge_agent.sources.address import parse_address

_MOST_VALUES = 1 << 26
_MOST_WORDS = 256


def shape() -> Rule:
    """Sizes of the axes of one reading."""

    def rule(value: Any) -> str:
        right = isinstance(value, (list, tuple)) and 0 < len(value) <= 8 and all(_is_size(size) for size in value)
        return "" if right and math.prod(value) <= _MOST_VALUES else "must be a list of 1 to 8 whole sizes, e.g. [480, 640, 3]"

    return rule


def command() -> Rule:
    """A program and its arguments; no shell looks at them."""

    def rule(value: Any) -> str:
        right = isinstance(value, (list, tuple)) and 0 < len(value) <= _MOST_WORDS and all(_is_word(word) for word in value) and value[0]
        return "" if right else 'must be a list of text, the program first, e.g. ["/usr/bin/read-sensor", "--json"]'

    return rule


def environment() -> Rule:
    """Names and values for a program."""

    def rule(value: Any) -> str:
        right = isinstance(value, dict) and all(_is_word(key) and key and "=" not in key and _is_word(value[key]) for key in value)
        return "" if right else 'must be a table of text, e.g. { TZ = "UTC" }'

    return rule


def iio_device() -> Rule:
    def rule(value: Any) -> str:
        right = (_is_word(value) and value) or (_is_number(value) and value >= 0)
        return "" if right else 'must be the name of an IIO device, "iio:deviceN", or its number'

    return rule


def camera_device() -> Rule:
    def rule(value: Any) -> str:
        right = (_is_word(value) and value) or (_is_number(value) and value >= 0)
        return "" if right else "must be the number of a camera, /dev/videoN, a film's file or a URL"

    return rule


def socket_address() -> Rule:
    def rule(value: Any) -> str:
        if not _is_word(value):
            return "must be text: unix:/path, host:port or a port"
        try:
            parse_address(value)
        except ValueError as error:
            return str(error)
        return ""

    return rule


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return _is_number(value) and value > 0
