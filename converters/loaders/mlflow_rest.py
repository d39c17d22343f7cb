"""An MLflow tracking server that the user has named, by its REST API: where a model is, and its files through the server's own proxy
(MLflow REST API 2.0; ``mlflow-artifacts`` endpoints)."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from converters.errors import InputError

TIMEOUT_S = 60.0
MAX_FILES = 10_000
MAX_BYTES = 4 << 30
MAX_ANSWER_BYTES = 16 << 20
_PIECE = 1 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Name and password are meant for the server that was named, not for another."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


class Server:
    """``address`` is what MLFLOW_TRACKING_URI says. Every method raises :class:`InputError` naming the address and the answer."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"MLFLOW_TRACKING_URI: {address!r} is no http or https address")
        host = parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]"
        self.address = f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"
        self._headers = _authorization(parts.username, parts.password)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def ask(self, endpoint: str, **query: str) -> dict[str, Any]:
        """The JSON of one GET."""
        with self._open(f"{endpoint}?{urlencode(query)}" if query else endpoint) as answer:
            data = answer.read(MAX_ANSWER_BYTES + 1)
        try:
            tree = json.loads(data) if len(data) <= MAX_ANSWER_BYTES else None
        except ValueError:
            tree = None
        if not isinstance(tree, dict):
            raise InputError(f"{self.address}: its answer to {endpoint} is not what an MLflow server says")
        return tree

    def download(self, root: str, folder: Path) -> None:
        """Every file under ``root`` of the artifact proxy into ``folder``."""
        left = MAX_BYTES
        for count, (name, target) in enumerate(self._files(root, folder), 1):
            if count > MAX_FILES:
                raise InputError(f"{self.address}: the model has more than {MAX_FILES} files")
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._open(f"/api/2.0/mlflow-artifacts/artifacts/{quote(name)}") as answer, target.open("wb") as file:
                while piece := answer.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise InputError(f"{self.address}: the model has more than {MAX_BYTES} bytes")
                    file.write(piece)

    def _files(self, root: str, folder: Path) -> Iterator[tuple[str, Path]]:
        """Name on the server and place here of each file; names that lead elsewhere are refused."""
        waiting, seen = [PurePosixPath()], 0
        while waiting:
            inside = waiting.pop()
            answer = self.ask("/api/2.0/mlflow-artifacts/artifacts", path=str(PurePosixPath(root) / inside))
            for entry in answer.get("files") or ():
                seen += 1
                name = entry.get("path") if isinstance(entry, Mapping) else None
                if not isinstance(name, str) or seen > MAX_FILES or len(PurePosixPath(name).parts) != 1 or name in ("..", ".", "/"):
                    raise InputError(f"{self.address}: lists a file {str(name)[:80]!r}, which is refused")
                if entry.get("is_dir"):
                    waiting.append(inside / name)
                else:
                    yield str(PurePosixPath(root) / inside / name), folder / inside / name

    def _open(self, path: str) -> Any:
        request = urllib.request.Request(self.address + path, headers=self._headers)
        try:
            return self._opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            raise InputError(f"{self.address}: answers {error.code} to {path}{_reason(error)}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{self.address}: cannot be reached ({getattr(error, 'reason', None) or error})") from None


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    """As MLflow's own client takes them: from the address, or its three variables."""
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if token:
        return {"Authorization": f"Bearer {token}"}
    user = user or os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = password or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if not user or not password:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        said = json.loads(error.read(4096)).get("message", "")
    except (ValueError, OSError, AttributeError):
        return ""
    return f" ({str(said)[:200]})" if said else ""
