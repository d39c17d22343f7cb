"""Which options each kind of sink takes, checked without opening anything."""

from __future__ import annotations

import re
import termios
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from edge_agent.errors import Problem
from edge_agent.option_check import Option, check_options, flag, number, one_of, text, texts, whole
from edge_agent.sinks.endpoint import is_loopback, parse_endpoint
from edge_agent.sinks.terms import DEFAULT_QUEUE, POLICIES

_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
"""A token of RFC 9110, section 5.6.2."""
_FORMAT = Option(one_of("json", "csv", "label"))

_TERMS: Mapping[str, Option] = {
    "queue": Option(whole(low=1, high=1 << 20)),
    "policy": Option(one_of(*POLICIES)),
    "max_age_s": Option(number(low=0.1, high=1e7)),
}
"""What every kind takes beside its own."""


def _baud_rate(value: Any) -> str:
    right = isinstance(value, int) and not isinstance(value, bool) and value > 0 and hasattr(termios, f"B{value}")
    return "" if right else "must be a speed the kernel has a name for, such as 9600, 115200 or 1000000"


def _line(value: Any) -> str:
    named = isinstance(value, str) and 0 < len(value.encode()) <= 31 and "\0" not in value
    numbered = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 16
    return "" if named or numbered else "must be the line's number on its chip, or its name"


def _headers(value: Any) -> str:
    if not isinstance(value, Mapping):
        return 'must be a table of texts, e.g. { "X-Site" = "plant 4" }'
    for name, content in value.items():
        if not re.fullmatch(_HEADER_NAME, str(name)):
            return f"has {str(name)[:64]!r}, which is no name of a header"
        if not isinstance(content, str) or not all(" " <= sign <= "~" for sign in content):
            return f"has a {name} that is not printable ASCII"
    return ""


def _words(value: Any) -> str:
    right = isinstance(value, (list, tuple)) and value and all(isinstance(word, str) and "\0" not in word for word in value) and value[0]
    if not right:
        return 'must be a list of words, the program first, e.g. ["/usr/bin/logger", "-t", "edge"]'
    relative = "/" in value[0] and not value[0].startswith("/")
    return f"has {value[0][:80]!r}: it must be a whole path, or the name of a program on PATH" if relative else ""


def _endpoint(value: Any) -> str:
    try:
        parse_endpoint(value if isinstance(value, str) else "")
    except ValueError as error:
        return str(error)
    return ""


def _url(value: Any) -> str:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or not all("!" <= sign <= "~" for sign in value):
        return "must be an address that begins with https:// (or http://), in ASCII without spaces"
    if "@" in parts.netloc:
        return "must not hold a password: put it into token_file"
    return "must not have a part after #" if parts.fragment else ""


_SINKS: Mapping[str, Mapping[str, Option]] = {
    "jsonl": {
        "path": Option(text(), required=True),
        "rotate_mib": Option(number(low=0.0, high=1e6)),
        "keep": Option(whole(low=1, high=1000)),
    },
    "mqtt": {
        "topic": Option(text(pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")),
    },
    "serial": {
        "port": Option(text(), required=True),
        "baud_rate": Option(_baud_rate),
        "format": _FORMAT,
        "timeout_s": Option(number(low=0.01, high=60)),
    },
    "gpio": {
        "chip": Option(text(pattern=r"[^\0]{1,255}"), required=True),
        "line": Option(_line, required=True),
        "labels": Option(texts()),
        "min_score": Option(number(low=-1e30, high=1e30)),
        "active_low": Option(flag()),
        "pulse_ms": Option(number(low=0, high=3_600_000)),
        "hold_ms": Option(number(low=0, high=3_600_000)),
    },
    "exec": {
        "command": Option(_words, required=True),
        "each": Option(flag()),
        "timeout_s": Option(number(low=0.01, high=3600)),
    },
    "webhook": {
        "url": Option(_url, required=True),
        "batch": Option(whole(low=1, high=10_000)),
        "every_s": Option(number(low=0.0, high=3600)),
        "timeout_s": Option(number(low=0.1, high=600)),
        "headers": Option(_headers),
        "token_file": Option(text()),
        "token_header": Option(text(pattern=_HEADER_NAME)),
        "tls_ca": Option(text()),
        "insecure": Option(flag()),
    },
    "socket": {
        "connect": Option(_endpoint),
        "listen": Option(_endpoint),
        "format": _FORMAT,
        "buffer_kib": Option(whole(low=1, high=1 << 20)),
        "timeout_s": Option(number(low=0.01, high=60)),
        "most_readers": Option(whole(low=1, high=1000)),
        "insecure": Option(flag()),
    },
}

SINK_KINDS = tuple(_SINKS)
_ALL: Mapping[str, Mapping[str, Option]] = {kind: {**options, **_TERMS} for kind, options in _SINKS.items()}


def sink_keys(kind: str) -> tuple[str, ...]:
    """Every option a sink of ``kind`` takes."""
    return tuple(_ALL[kind])


def check_sink(kind: str, options: Mapping[str, Any], where: str) -> list[Problem]:
    """Everything wrong with the options of a sink of ``kind``; ``where`` is its key path in the configuration."""
    problems = check_options(_ALL, kind, options, where)
    if not problems:
        together = _TOGETHER.get(kind)
        wrongs = {**_check_terms(options), **(together(options) if together else {})}
        problems = [Problem(f"{where}.{key}", wrong) for key, wrong in wrongs.items()]
    return problems


def _check_terms(options: Mapping[str, Any]) -> dict[str, str]:
    if options.get("policy") == "latest_only" and options.get("queue", 1) != 1:
        return {"queue": 'has no meaning with policy = "latest_only", which keeps one; leave it out'}
    return {}


def _check_gpio(options: Mapping[str, Any]) -> dict[str, str]:
    if "labels" not in options and "min_score" not in options:
        return {"labels": "is missing: say which labels, or which min_score, turn the line on"}
    return {}


def _check_webhook(options: Mapping[str, Any]) -> dict[str, str]:
    wrong: dict[str, str] = {}
    url = urlsplit(options["url"])
    plain = url.scheme == "http"
    if plain and not is_loopback(url.hostname or "") and not options.get("insecure", False):
        wrong["url"] = "would send predictions unencrypted over the network: use https://, or say insecure = true beside it"
    if plain and "tls_ca" in options:
        wrong["tls_ca"] = "has no meaning with http://"
    if "token_header" in options and "token_file" not in options:
        wrong["token_header"] = "needs token_file beside it"
    most = 1 if options.get("policy") == "latest_only" else options.get("queue", DEFAULT_QUEUE)
    if options.get("batch", 1) > most:
        wrong["batch"] = f"is more than may wait in the queue ({most})"
    return wrong


def _check_socket(options: Mapping[str, Any]) -> dict[str, str]:
    if ("connect" in options) == ("listen" in options):
        return {"listen": "or connect: exactly one of the two says which side waits"}
    key = "connect" if "connect" in options else "listen"
    if not parse_endpoint(options[key]).local and not options.get("insecure", False):
        return {key: "would send predictions unencrypted and to whoever is there: use a unix socket or 127.0.0.1, or say insecure = true"}
    return {}


_TOGETHER: Mapping[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    "gpio": _check_gpio,
    "webhook": _check_webhook,
    "socket": _check_socket,
}
