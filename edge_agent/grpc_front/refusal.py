"""Why a call is refused, in gRPC's words, and what the HTTP API's statuses are in them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

MOST_CHARACTERS = 1000
"""Of an error's text. It travels in a trailer, and clients take 8 KiB of those."""

_CODES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    431: "INVALID_ARGUMENT",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Refusal(Exception):
    """A call that is answered with ``code``, a name of gRPC's, and ``text``. ``retry_s``: when it may be tried again, 0 for unknown."""

    def __init__(self, code: str, text: str, *, retry_s: float = 0.0) -> None:
        super().__init__(text)
        self.code = code
        self.text = text[:MOST_CHARACTERS]
        self.retry_s = retry_s


def refusal_of(status: int, text: str, retry_after: str = "") -> Refusal:
    """The HTTP API's error as a refusal. A Retry-After becomes part of the text, where people and programs see it."""
    code = _CODES.get(status, "UNKNOWN")
    if retry_after.isascii() and retry_after.isdigit():
        return Refusal(code, f"{text[: MOST_CHARACTERS - 40]}; retry after {retry_after} s", retry_s=float(retry_after))
    return Refusal(code, text)
