"""The transfer: resumes, takes no byte too many, and never keeps bytes that were not signed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from repository_simulator import Exchange, RepositorySimulator

from edge_agent.errors import EdgeError, FetchError, FetchRefused, StoreFull, TrustError
from edge_agent.update.fetch import check_space, download
from edge_agent.update.http import Http

DATA = bytes(range(256)) * 1024


def get(repository: RepositorySimulator, path: Path, served: str = "targets/x") -> list[int]:
    seen: list[int] = []
    digest = hashlib.sha256(DATA).hexdigest()
    url = f"{repository.url}/{served}"
    download(url, path, length=len(DATA), sha256=digest, http=Http(5), progress=lambda done, total: seen.append(done))
    return seen


@pytest.fixture
def path(tmp_path: Path, repository: RepositorySimulator) -> Path:
    repository.files["targets/x"] = DATA
    return tmp_path / "incoming"


def test_a_transfer_arrives_whole_and_tells_how_far_it_is(repository: RepositorySimulator, path: Path) -> None:
    seen = get(repository, path)
    assert path.read_bytes() == DATA
    assert seen == sorted(seen)
    assert seen[-1] == len(DATA)


def test_a_transfer_that_broke_off_goes_on_from_the_bytes_it_has(repository: RepositorySimulator, path: Path) -> None:
    repository.overrides["targets/"] = lambda exchange: exchange.send_file(DATA, cut_after=100_000)
    for _ in range(2):
        with pytest.raises(FetchError):
            get(repository, path)
    assert path.stat().st_size == 200_000
    repository.overrides.clear()
    get(repository, path)
    assert path.read_bytes() == DATA
    assert repository.ranges == ["", "bytes=100000-", "bytes=200000-"]


def test_a_server_without_ranges_sends_all_again(repository: RepositorySimulator, path: Path) -> None:
    path.write_bytes(DATA[:1000])
    repository.overrides["targets/"] = lambda exchange: exchange.send_file(DATA, ranges=False)
    get(repository, path)
    assert path.read_bytes() == DATA


def test_a_complete_part_asks_for_nothing(repository: RepositorySimulator, path: Path) -> None:
    path.write_bytes(DATA)
    get(repository, path)
    assert not repository.requests


def test_a_damaged_part_is_thrown_away_and_the_next_try_succeeds(repository: RepositorySimulator, path: Path) -> None:
    path.write_bytes(b"\0" * 5000)
    with pytest.raises(FetchError, match="damaged"):
        get(repository, path)
    get(repository, path)
    assert path.read_bytes() == DATA


def test_a_part_that_is_too_long_is_started_anew(repository: RepositorySimulator, path: Path) -> None:
    path.write_bytes(DATA + b"more")
    get(repository, path)
    assert path.read_bytes() == DATA


def test_bytes_that_were_not_signed_are_not_kept(repository: RepositorySimulator, path: Path) -> None:
    repository.files["targets/x"] = DATA[:-1] + b"!"
    with pytest.raises(TrustError, match="hash"):
        get(repository, path)
    assert not path.exists()


def endless(exchange: Exchange) -> None:
    exchange.send_response(200)
    exchange.send_header("Connection", "close")
    exchange.end_headers()
    try:
        while True:
            exchange.wfile.write(b"x" * 65536)
    except OSError:
        exchange.close_connection = True


def test_an_endless_answer_ends_at_the_signed_length(repository: RepositorySimulator, path: Path) -> None:
    repository.overrides["targets/"] = endless
    with pytest.raises(TrustError, match="more than"):
        get(repository, path)
    assert not path.exists()


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_declared_length_that_was_not_signed_is_not_trusted(repository: RepositorySimulator, path: Path, size: int) -> None:
    repository.files["targets/x"] = (DATA + b"x")[:size]
    with pytest.raises(TrustError, match="signed"):
        get(repository, path)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, FetchRefused), (410, FetchRefused), (408, FetchError), (500, FetchError), (206, FetchError)]
)
def test_the_status_says_whether_trying_again_helps(
    repository: RepositorySimulator, path: Path, status: int, kind: type[EdgeError]
) -> None:
    repository.overrides["targets/"] = lambda exchange: exchange.send_status(status)
    with pytest.raises(kind):
        get(repository, path)


def test_a_full_disk_is_noticed_before_the_transfer(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match="MiB are free"):
        check_space(tmp_path, 1 << 60)
    check_space(tmp_path, 1)
