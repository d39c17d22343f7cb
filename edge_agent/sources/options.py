"""Which options each kind of source takes, checked without opening anything or importing what the source needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.errors import Problem
from edge_agent.option_check import Option, check_options, flag, number, one_of, text, texts, topic_filter, whole
from edge_agent.sources.address import parse_address
from edge_agent.sources.option_rules import camera_device, command, environment, iio_device, shape, socket_address
from edge_agent.values import DTYPES

REPLAY_EXTENSIONS = (".npz", ".csv", ".jsonl", ".wav")

_MOST_BYTES = 64 << 20
_MOST_ROWS = 1 << 20
_FORMS: Mapping[str, Option] = {
    "framing": Option(one_of("auto", "csv", "json", "raw", "prefixed")),
    "fields": Option(texts()),
    "max_line_bytes": Option(whole(low=16, high=_MOST_BYTES)),
    "max_message_bytes": Option(whole(low=1, high=_MOST_BYTES)),
    "dtype": Option(one_of(*DTYPES)),
    "byte_order": Option(one_of("little", "big")),
    "shape": Option(shape()),
    "rate_hz": Option(number(low=0.0, high=1e9)),
}
"""How a stream of bytes is cut into samples: see sources/decoder.py."""

_SOURCES: Mapping[str, Mapping[str, Option]] = {
    "replay": {
        "path": Option(text(endings=REPLAY_EXTENSIONS), required=True),
        "rate_hz": Option(number(low=0.0, high=1e6)),
        "loop": Option(flag()),
        "limit": Option(whole(low=0)),
        "block": Option(whole(low=0, high=_MOST_ROWS)),
    },
    "serial": {
        "port": Option(text(), required=True),
        "baud_rate": Option(whole(low=50, high=4_000_000)),
        "framing": Option(one_of("csv", "json")),
        "fields": Option(texts()),
        "max_line_bytes": Option(whole(low=16, high=1 << 20)),
    },
    "mqtt": {
        "topic": Option(topic_filter(), required=True),
        "framing": Option(one_of("auto", "csv", "json")),
        "fields": Option(texts()),
        "max_payload_bytes": Option(whole(low=16, high=64 << 20)),
    },
    "synthetic": {
        "rate_hz": Option(number(low=0.0, high=1e6)),
        "channels": Option(whole(low=1, high=1 << 16)),
        "shape": Option(shape()),
        "signal": Option(one_of("sine", "square", "ramp", "constant", "noise")),
        "frequency_hz": Option(number(low=0.0, high=1e6)),
        "amplitude": Option(number(low=-1e30, high=1e30)),
        "offset": Option(number(low=-1e30, high=1e30)),
        "noise": Option(number(low=0.0, high=1e30)),
        "seed": Option(whole(low=0)),
        "limit": Option(whole(low=0)),
        "block": Option(whole(low=1, high=_MOST_ROWS)),
        "dtype": Option(one_of("float32", "uint8", "int8", "int16", "uint16", "int32")),
    },
    "iio": {
        "device": Option(iio_device(), required=True),
        "channels": Option(texts()),
        "mode": Option(one_of("polled", "buffered")),
        "rate_hz": Option(number(low=1e-3, high=1e6)),
        "buffer_length": Option(whole(low=2, high=_MOST_ROWS)),
        "watermark": Option(whole(low=1, high=_MOST_ROWS)),
        "trigger": Option(text()),
        "root": Option(text()),
    },
    "camera": {
        "device": Option(camera_device(), required=True),
        "width": Option(whole(low=16, high=1 << 14)),
        "height": Option(whole(low=16, high=1 << 14)),
        "fps": Option(number(low=0.01, high=1000.0)),
        "silence_s": Option(number(low=0.1, high=86_400.0)),
    },
    "audio": {
        "device": Option(text()),
        "rate_hz": Option(whole(low=2000, high=768_000)),
        "channels": Option(whole(low=1, high=256)),
        "format": Option(one_of("S16_LE", "S32_LE")),
        "block": Option(whole(low=1, high=_MOST_ROWS)),
        "silence_s": Option(number(low=0.1, high=86_400.0)),
    },
    "exec": {
        "command": Option(command(), required=True),
        "environment": Option(environment()),
        "restart": Option(flag()),
        **_FORMS,
    },
    "socket": {
        "address": Option(socket_address(), required=True),
        "listen": Option(flag()),
        "public": Option(flag()),
        **_FORMS,
    },
}

SOURCE_KINDS = tuple(_SOURCES)

_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "dtype": ("raw", "prefixed"),
    "byte_order": ("raw", "prefixed"),
    "shape": ("raw", "prefixed"),
    "rate_hz": ("raw", "prefixed"),
    "max_message_bytes": ("prefixed",),
    "max_line_bytes": ("auto", "csv", "json"),
    "fields": ("auto", "csv", "json", "prefixed"),
}


def check_source(kind: str, options: Mapping[str, Any], where: str) -> list[Problem]:
    """Everything wrong with the options of a source of ``kind``; ``where`` is its key path in the configuration."""
    problems = check_options(_SOURCES, kind, options, where)
    if problems:
        return problems
    return [Problem(f"{where}.{key}", what) for key, what in _disagreements(kind, options)]


def _disagreements(kind: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Keys that are right alone and wrong together, with what is wrong."""
    found: list[tuple[str, str]] = []
    if kind in ("exec", "socket"):
        found += _form_disagreements(options)
    if kind == "socket" and options.get("listen") and not options.get("public") and not parse_address(options["address"]).is_local:
        found.append(("address", 'lets other machines send readings; say public = true if that is meant, or name "127.0.0.1:port"'))
    if kind == "synthetic" and "shape" in options and "channels" in options:
        found.append(("channels", "and shape say the same thing; keep one of them"))
    if kind == "iio" and options.get("mode", "polled") == "polled":
        found += [(key, 'is only for mode = "buffered"') for key in ("buffer_length", "watermark", "trigger") if key in options]
    return found


def _form_disagreements(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    framing = options.get("framing", "auto")
    found = [(key, f'is not for framing = "{framing}"') for key, where in _ONLY_FOR.items() if key in options and framing not in where]
    if framing == "raw" and "dtype" not in options:
        found.append(("dtype", 'is missing: framing = "raw" needs the type of its numbers, e.g. "float32"'))
    if framing == "prefixed":
        if "dtype" not in options:
            found += [(key, "needs dtype beside it") for key in ("shape", "byte_order", "rate_hz") if key in options]
        elif "fields" in options:
            found.append(("fields", "is for text, and dtype says that the messages are numbers"))
    return found
