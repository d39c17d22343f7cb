"""Answers as bytes."""

from __future__ import annotations

import json
from typing import Any

from edge_agent.front.http_head import Head

JSON = b"application/json"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


def status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %s\r\n" % (status, _REASONS.get(status, b"Unknown"))


def reply(head: Head, status: int, body: bytes, kind: bytes = JSON, extra: bytes = b"") -> bytes:
    """A whole answer to ``head``; ``extra`` are more header lines. An answer to HEAD says the length and leaves the body out."""
    first = b"%sContent-Type: %s\r\nContent-Length: %d\r\n%s%s\r\n" % (status_line(status), kind, len(body), extra, head.closing)
    return first if head.method == "HEAD" else first + body


def json_reply(head: Head, status: int, tree: Any, extra: bytes = b"") -> bytes:
    """``tree`` as JSON; NaN and Infinity as those words."""
    return reply(head, status, json.dumps(tree, separators=(",", ":")).encode(), JSON, extra)


def error_reply(head: Head, status: int, text: str, extra: bytes = b"") -> bytes:
    """Every error has the key ``error``: clients of every protocol here look for it."""
    return json_reply(head, status, {"error": text}, extra)
