"""The head of an HTTP/1.x request (RFC 9112): bytes to a :class:`Head`, or one clear error. Pure; no input or output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

MAX_HEAD_BYTES = 16 << 10
MAX_TARGET_BYTES = 8 << 10

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
CODINGS = ("", "identity", "gzip", "x-gzip", "deflate")

_LISTS = (b"connection", b"transfer-encoding", b"expect", b"accept", b"content-encoding", b"accept-encoding")
_ONCE = (b"content-length", b"host", b"inference-header-content-length", b"authorization")
_LOCAL_HOST = re.compile(rb"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


class HttpError(Exception):
    """A request that is answered with ``status`` and ``text``. ``closes``: what follows on the connection cannot be understood."""

    def __init__(self, status: int, text: str, *, closes: bool = False, extra: bytes = b"") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.closes = closes
        self.extra = extra


@dataclass(frozen=True, slots=True)
class Head:
    """What a request says before its body. ``length`` is the body's bytes; ``plain`` when the body is just those bytes.

    ``parts`` are the path's segments, percent-decoded one by one. ``json_length`` is Inference-Header-Content-Length, -1 without it.
    ``closing`` is the line that an answer needs about the connection, empty for the usual.
    """

    method: str
    path: str
    parts: tuple[str, ...]
    keep_alive: bool
    length: int = 0
    chunked: bool = False
    waits: bool = False
    coding: str = ""
    json_length: int = -1
    bearer: bytes = b""
    accept: str = ""
    host: str = ""
    foreign: bool = False
    """A web page of another address asks, through the browser of someone on this machine."""
    plain: bool = True
    closing: bytes = b""


NO_HEAD = Head("GET", "/", (), False, closing=b"Connection: close\r\n")
"""Stands for a head that could not be read."""


def parse_head(raw: bytes) -> Head:
    """The head in ``raw``, without the empty line that ends it. Raises HttpError, always one that closes the connection."""
    first, *lines = raw.split(b"\r\n")
    method, target, version = _request_line(first)
    fields = _fields(lines)
    try:
        return _head(method, target, version, fields)
    except UnicodeDecodeError:
        raise HttpError(400, "a header is not text", closes=True) from None


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    words = line.split(b" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]):
        raise HttpError(400, "the request line is not: METHOD PATH HTTP/1.1", closes=True)
    if words[2] not in _VERSIONS:
        known = re.fullmatch(rb"HTTP/[0-9]\.[0-9]", words[2])
        raise HttpError(505 if known else 400, "only HTTP/1.1 and HTTP/1.0 are spoken here", closes=True)
    if len(words[1]) > MAX_TARGET_BYTES:
        raise HttpError(414, f"the path is longer than {MAX_TARGET_BYTES} bytes", closes=True)
    return words[0], words[1], words[2]


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or _BAD_VALUE.search(value):
            raise HttpError(400, "a header line is not: Name: value", closes=True)
        name, value = name.lower(), value.strip(b" \t")
        if name in fields and name in _LISTS:
            value = fields[name] + b", " + value
        elif name in _ONCE and fields.get(name, value) != value:
            raise HttpError(400, f"{name.decode()} is said twice, differently", closes=True)
        fields[name] = value
    return fields


def _head(method: bytes, target: bytes, version: bytes, fields: dict[bytes, bytes]) -> Head:
    old = version == b"HTTP/1.0"
    words = {word.strip() for word in fields.get(b"connection", b"").decode("latin-1").lower().split(",")}
    keep_alive = "keep-alive" in words if old else "close" not in words
    length, chunked = _framing(fields, old)
    coding = fields.get(b"content-encoding", b"").decode("ascii").lower()
    if coding not in CODINGS:
        raise HttpError(415, f"content-encoding {coding[:40]!r} is not understood; gzip and deflate are", closes=True)
    coding = "" if coding == "identity" else coding
    waits = _waits(fields, old)
    path, parts = _path(target)
    return Head(
        method=method.decode("ascii"),
        path=path,
        parts=parts,
        keep_alive=keep_alive,
        length=length,
        chunked=chunked,
        waits=waits,
        coding=coding,
        json_length=_number(fields, b"inference-header-content-length", -1),
        bearer=_bearer(fields.get(b"authorization", b"")),
        accept=fields.get(b"accept", b"").decode("latin-1"),
        host=fields.get(b"host", b"").decode("ascii"),
        foreign=_foreign(fields.get(b"origin", b""), fields.get(b"host", b"")),
        plain=not (chunked or waits or coding),
        closing=b"" if keep_alive and not old else b"Connection: keep-alive\r\n" if keep_alive else b"Connection: close\r\n",
    )


def _foreign(origin: bytes, host: bytes) -> bool:
    """Browsers say which page a request comes from (RFC 6454); programs do not. The page is ours when it was fetched from the address that
    is asked, and that address is this machine's own: another name may have been made to lead here (DNS rebinding)."""
    return bool(origin) and (origin.partition(b"://")[2] != host or not _LOCAL_HOST.fullmatch(host))


def _framing(fields: dict[bytes, bytes], old: bool) -> tuple[int, bool]:
    """Length of the body and whether it comes in chunks (RFC 9112, 6.3)."""
    transfer = fields.get(b"transfer-encoding")
    if transfer is None:
        return _number(fields, b"content-length", 0), False
    if old or b"content-length" in fields:
        raise HttpError(400, "transfer-encoding does not go with content-length or HTTP/1.0", closes=True)
    if transfer.lower() != b"chunked":
        raise HttpError(501, "of transfer encodings only chunked is understood", closes=True)
    return 0, True


def _waits(fields: dict[bytes, bytes], old: bool) -> bool:
    expect = fields.get(b"expect", b"").lower()
    if expect not in (b"", b"100-continue"):
        raise HttpError(417, "of expectations only 100-continue is met", closes=True)
    return bool(expect) and not old


def _number(fields: dict[bytes, bytes], name: bytes, default: int) -> int:
    value = fields.get(name)
    if value is None:
        return default
    if not _DIGITS.fullmatch(value):
        raise HttpError(400, f"{name.decode()} must be a whole number", closes=True)
    return int(value)


def _bearer(value: bytes) -> bytes:
    scheme, _, token = value.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _path(target: bytes) -> tuple[str, tuple[str, ...]]:
    """The path as text and its decoded segments; query and fragment are left out, an absolute URI's host too."""
    text = target.decode("ascii")
    if text.startswith(("http://", "https://")):
        text = "/" + text.split("://", 1)[1].partition("/")[2]
    text = text.partition("#")[0].partition("?")[0]
    if not text.startswith("/") and text != "*":
        raise HttpError(400, "the path must begin with /", closes=True)
    try:
        return text, tuple(unquote(part, errors="strict") for part in text.split("/") if part)
    except UnicodeDecodeError:
        raise HttpError(400, "the path is not UTF-8", closes=True) from None
