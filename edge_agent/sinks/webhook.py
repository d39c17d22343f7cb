"""Predictions to a web server: one JSON object, or an array of several, by POST.

An answer of 2xx is the only receipt. When it is lost on the way the predictions are sent again: each is delivered at least once while it
is younger than ``max_age_s``, and ``pipeline`` with ``window_seq`` and ``t_ns`` tells the receiver which
it has seen.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SinkError, SinkRefused
from edge_agent.sinks.deadline_http import HttpAnswer, HTTPException, Poster
from edge_agent.sinks.lines import json_line
from edge_agent.values import Delivery, Prediction

LONGEST_PAUSE_S = 30.0
_MOST_RETRY_AFTER_S = 300.0
_MOST_TOKEN_BYTES = 16_384
_PASSES = frozenset({408, 425, 429})
"""Client errors (RFC 9110, RFC 6585, RFC 8470) that may pass by themselves."""


def open_sink(name: str, options: Mapping[str, Any], publish: object = None, *, clock: Clock | None = None) -> WebhookSink:
    """A server as the checked ``options`` say: url, batch (1), every_s (0.5), timeout_s (10), headers, token_file, token_header
    (Authorization), tls_ca (the system's). Raises SinkError when ``tls_ca`` cannot be used."""
    url = str(options["url"])
    batch = int(options.get("batch", 1))
    poster = Poster(url, float(options.get("timeout_s", 10.0)), clock or SystemClock(), _tls(name, url, options.get("tls_ca")))
    headers = {"User-Agent": "edge-agent", **options.get("headers", {}), "Content-Type": "application/json"}
    token = TokenFile(options.get("token_file"), str(options.get("token_header", "Authorization")))
    delivery = Delivery(batch, float(options.get("every_s", 0.5)) if batch > 1 else 0.0, LONGEST_PAUSE_S)
    return WebhookSink(name, _shown(url), poster, headers, token, delivery)


class TokenFile:
    """A secret that goes along as a header; read for every request, so that it can be replaced, and never part of an error."""

    def __init__(self, path: str | None, header: str) -> None:
        self._path, self._header = path, header

    def headers(self) -> dict[str, str]:
        """Raises ValueError when the file cannot be read or holds no token."""
        if self._path is None:
            return {}
        try:
            with Path(self._path).open("rb") as file:
                token = file.read(_MOST_TOKEN_BYTES).strip()
        except OSError as error:
            raise ValueError(f"token_file: {self._path} cannot be read ({error.strerror})") from None
        if not token or not all(0x20 <= byte < 0x7F for byte in token):
            raise ValueError(f"{self._path} must hold the token alone, in one line of ASCII")
        text = token.decode("ascii")
        return {self._header: f"Bearer {text}" if self._header.lower() == "authorization" and " " not in text else text}


class WebhookSink:
    """Refusals (4xx, but for 408, 425 and 429; redirects) are :class:`SinkRefused`; all else that is not 2xx is tried again."""

    def __init__(self, name: str, shown_url: str, poster: Poster, headers: Mapping[str, str], token: TokenFile, delivery: Delivery) -> None:
        self.name = name
        self.delivery = delivery
        self._url, self._poster, self._headers, self._token = shown_url, poster, headers, token

    def emit_all(self, predictions: Sequence[Prediction]) -> None:
        try:
            answer = self._poster.post(self._body(predictions), {**self._headers, **self._token.headers()})
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise SinkError(f"sink {self.name}: {self._url}: {reason}") from None
        if not 200 <= answer.status < 300:
            raise self._error(answer)

    def flush(self) -> None:
        """A batch is sent when it is due."""

    def close(self) -> None:
        self._poster.close()

    def _body(self, predictions: Sequence[Prediction]) -> bytes:
        lines = [json_line(prediction)[:-1] for prediction in predictions]
        return b"[" + b",".join(lines) + b"]" if self.delivery.batch > 1 else lines[0]

    def _error(self, answer: HttpAnswer) -> SinkError:
        if 300 <= answer.status < 400:
            return SinkRefused(f"sink {self.name}: {self._url} redirects (status {answer.status}); configure the final address")
        if 400 <= answer.status < 500 and answer.status not in _PASSES:
            return SinkRefused(f"sink {self.name}: {self._url} refused with status {answer.status}")
        return SinkError(f"sink {self.name}: {self._url} answered with status {answer.status}", pause_s=_retry_after_s(answer.retry_after))


def _retry_after_s(header: str) -> float:
    """Seconds of a Retry-After header, bounded; 0 for a date or nothing."""
    return min(float(header), _MOST_RETRY_AFTER_S) if header.isascii() and header.isdigit() else 0.0


def _tls(name: str, url: str, authority: str | None) -> ssl.SSLContext | None:
    if not url.lower().startswith("https:"):
        return None
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise SinkError(f"sink {name}: tls_ca: {authority} cannot be used ({error.strerror or error})") from error


def _shown(url: str) -> str:
    """The address without its query, in which there may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
