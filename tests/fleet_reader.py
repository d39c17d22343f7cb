"""python-tuf's own client reading a repository, over HTTP or straight from its public folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface


class FolderFetcher(FetcherInterface):
    """Answers ``folder:///...`` from the file system."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._folder / unquote(url.removeprefix("folder:///"))
        if not path.is_file():
            raise DownloadHTTPError(f"{url}: 404", 404)
        yield path.read_bytes()


class Reader:
    """A device's view of a repository that lasts between visits in ``state``; ``public`` is also where the trusted root comes from."""

    def __init__(self, public: Path, state: Path, url: str = "") -> None:
        self._state = state
        self._root = (public / "root.json").read_bytes()
        self._url = url or "folder://"
        self._fetcher = None if url else FolderFetcher(public)
        (state / "targets").mkdir(parents=True, exist_ok=True)

    def fetch(self, model: str, version: str) -> bytes | None:
        """The verified bundle, ``None`` when the signed list has none. Raises python-tuf's errors."""
        updater = Updater(
            str(self._state),
            f"{self._url}/metadata/",
            target_dir=str(self._state / "targets"),
            target_base_url=f"{self._url}/targets/",
            fetcher=self._fetcher,
            bootstrap=self._root,
        )
        updater.refresh()
        info = updater.get_targetinfo(f"{model}/{version}.edgemodel")
        return None if info is None else Path(updater.download_target(info)).read_bytes()
