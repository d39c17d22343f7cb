"""Bodies that are not just so many bytes: chunked (RFC 9112, 7.1) and compressed ones, within limits. Pure."""

from __future__ import annotations

import re
import zlib

from edge_agent.front.http_head import HttpError

MAX_LINE_BYTES = 4096
_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_SIZE_LINE, _DATA, _DATA_END, _TRAILER = range(4)


class ChunkedBody:
    """Collects a chunked body of at most ``limit_bytes``."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._body = bytearray()
        self._state = _SIZE_LINE
        self._left = 0
        self._trailers = 0

    @property
    def size(self) -> int:
        """Bytes collected so far."""
        return len(self._body)

    def feed(self, pending: bytearray) -> bytes | None:
        """Take what it can from the front of ``pending``; the body once it is whole. Raises HttpError."""
        while True:
            if self._state == _DATA:
                if not self._data(pending):
                    return None
                continue
            line = self._line(pending)
            if line is None:
                return None
            if self._state == _SIZE_LINE:
                self._size(line)
            elif self._state == _DATA_END:
                if line:
                    raise HttpError(400, "a chunk is longer than it said", closes=True)
                self._state = _SIZE_LINE
            elif not line:
                return bytes(self._body)
            else:
                self._trailer(line)

    def _line(self, pending: bytearray) -> bytes | None:
        end = pending.find(b"\r\n", 0, MAX_LINE_BYTES + 2)
        if end < 0:
            if len(pending) > MAX_LINE_BYTES:
                raise HttpError(400, "a line between chunks is too long", closes=True)
            return None
        line = bytes(pending[:end])
        del pending[: end + 2]
        return line

    def _size(self, line: bytes) -> None:
        size = line.partition(b";")[0].strip(b" \t")
        if not _SIZE.fullmatch(size):
            raise HttpError(400, "the size of a chunk must be a hexadecimal number", closes=True)
        self._left = int(size, 16)
        if len(self._body) + self._left > self._limit:
            raise HttpError(413, f"the body is larger than {self._limit} bytes", closes=True)
        self._state = _DATA if self._left else _TRAILER

    def _data(self, pending: bytearray) -> bool:
        taken = min(self._left, len(pending))
        with memoryview(pending) as view:
            self._body += view[:taken]
        del pending[:taken]
        self._left -= taken
        if self._left:
            return False
        self._state = _DATA_END
        return True

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > MAX_LINE_BYTES:
            raise HttpError(431, "the trailers are too long", closes=True)


def inflated(body: bytes, coding: str, limit_bytes: int) -> bytes:
    """``body`` decompressed, at most ``limit_bytes``. Raises HttpError. Some clients call the raw format deflate: both are read."""
    try:
        return _inflate(body, _GZIP_OR_ZLIB, limit_bytes)
    except zlib.error:
        if coding == "deflate":
            try:
                return _inflate(body, -zlib.MAX_WBITS, limit_bytes)
            except zlib.error:
                pass
    raise HttpError(400, f"the body is not {coding}")


def _inflate(body: bytes, window: int, limit_bytes: int) -> bytes:
    stream = zlib.decompressobj(window)
    data = stream.decompress(body, limit_bytes + 1)
    if len(data) > limit_bytes:
        raise HttpError(413, f"the body is larger than {limit_bytes} bytes when decompressed")
    if not stream.eof:
        raise HttpError(400, "the compressed body is cut short")
    if stream.unused_data:
        raise HttpError(400, "something follows the compressed body; it must be one piece")
    return data
