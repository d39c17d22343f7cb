"""One HTTP request at a time, bounded in patience, with errors that say whether trying again can help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from edge_agent.errors import EdgeError, FetchError, FetchRefused

CHUNK_BYTES = 64 * 1024
_RETRYABLE = frozenset({408, 425, 429})


class Http:
    """GET over HTTP or HTTPS with the system's certificates and proxy settings. ``timeout_s`` bounds connecting and every read."""

    def __init__(self, timeout_s: float = 30.0) -> None:
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._timeout = urllib3.Timeout(connect=timeout_s, read=timeout_s)

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[urllib3.BaseHTTPResponse]:
        """The response with its body still to be read; redirects are followed three times.

        Raises :class:`FetchRefused` for what is no web address, :class:`FetchError` when the other side cannot be reached.
        """
        sent = {"Accept-Encoding": "identity", "User-Agent": "edge-agent", **(headers or {})}
        retries = urllib3.Retry(total=3, connect=0, read=0, other=0, status=0, redirect=3, raise_on_status=False)
        _check_address(url)
        try:
            response = self._pool(url).request("GET", url, headers=sent, preload_content=False, timeout=self._timeout, retries=retries)
        except (urllib3.exceptions.LocationValueError, UnicodeError) as error:
            raise FetchRefused(f"{url!r} is not an address: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise FetchError(f"{url}: {_cause(error)}") from error
        try:
            yield response
        except urllib3.exceptions.HTTPError as error:
            raise FetchError(f"{url}: the transfer broke off: {_cause(error)}") from error
        finally:
            # Not given back to the pool: the rest of a body that was not read to its end would be taken for an answer.
            response.close()

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = "" if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme, "")
        if proxy not in self._pools:
            self._pools[proxy] = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
        return self._pools[proxy]


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise FetchRefused(f"{url!r} is not an http or https address; correct the repository's address")


def status_error(url: str, status: int) -> EdgeError:
    """The error for an HTTP ``status`` that is not success: 4xx is a refusal for good, all else may pass."""
    if 400 <= status < 500 and status not in _RETRYABLE:
        return FetchRefused(f"{url}: the server refused with status {status}")
    return FetchError(f"{url}: the server answered with status {status}")


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(reason).__name__
