"""What the tests of updates share: a small bundle as bytes, a repository, a place to install into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models import TinyBundle, tiny_bundle
from repository_simulator import RepositorySimulator

from edge_agent.update.request import Place
from edge_agent.update.store import FileStore


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TinyBundle]:
    """A bundle of model ``m`` by version; made once per version."""
    folder = tmp_path_factory.mktemp("bundles")
    made: dict[str, TinyBundle] = {}

    def get(version: str) -> TinyBundle:
        if version not in made:
            made[version] = tiny_bundle(folder / f"{version}.edgemodel", name="m", version=version)
        return made[version]

    return get


@pytest.fixture
def repository() -> Iterator[RepositorySimulator]:
    with RepositorySimulator() as simulator:
        yield simulator


@pytest.fixture
def place(tmp_path: Path, repository: RepositorySimulator) -> Place:
    return Place(tmp_path / "store", tmp_path / "metadata", repository.url, repository.trusted_root(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def install(store: FileStore, bundles: Callable[[str], TinyBundle]) -> Callable[[str], str]:
    """Put a version of ``m`` into the store and make it active; the digest."""

    def put(version: str) -> str:
        digest = store.adopt(bundles(version).path)
        store.unpack(digest)
        store.set_active("m", digest)
        return digest

    return put
