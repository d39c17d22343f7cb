"""The updater process as the agent uses it: real processes, a real repository over HTTP, honest and hostile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from models import TinyBundle, tiny_bundle
from repository_simulator import Exchange, RepositorySimulator
from waiting import wait_for

from edge_agent.bundle.manifest import Requirements
from edge_agent.errors import BundleError, EdgeError, FetchError, FetchRefused, StoreError, TrustError
from edge_agent.update.compatibility import DeviceFacts
from edge_agent.update.fetch_client import SubprocessFetcher
from edge_agent.update.machine import UpdateCommand
from edge_agent.update.request import Place, Request, decode_request, encode_request
from edge_agent.update.store import FileStore

FACTS = DeviceFacts("generic-x86-64", "x86_64", 1024, "1.0", {"onnx": "1.20.0"})
COMMAND = UpdateCommand("c", "m", "1")


@pytest.fixture
def fetcher(place: Place, store: FileStore) -> SubprocessFetcher:
    return SubprocessFetcher(place, FACTS, store, fetch_timeout_s=60)


def ignore(done: int, total: int) -> None:
    """Progress nobody looks at."""


def test_a_published_bundle_is_fetched_verified_and_unpacked(
    repository: RepositorySimulator, fetcher: SubprocessFetcher, store: FileStore, bundles: Callable[[str], TinyBundle]
) -> None:
    served = repository.add("m", "1", bundles("1").path.read_bytes())
    seen: list[tuple[int, int]] = []
    digest = fetcher.fetch(COMMAND, lambda done, total: seen.append((done, total)))
    assert digest == bundles("1").digest
    assert seen[-1][0] == seen[-1][1] > 0
    assert fetcher.verify(COMMAND, digest).version == "1"
    assert store.healthy(digest)
    assert fetcher.fetch(COMMAND, ignore) == digest
    assert repository.requests[served] == 1, "what is here is not transferred again"
    assert fetcher.pid is None


def test_a_transfer_survives_the_death_of_its_process(
    repository: RepositorySimulator, fetcher: SubprocessFetcher, store: FileStore, bundles: Callable[[str], TinyBundle]
) -> None:
    data = bundles("1").path.read_bytes()
    served = repository.add("m", "1", data)
    arrived, go = threading.Event(), threading.Event()

    def stall(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(len(data)))
        exchange.end_headers()
        exchange.wfile.write(data[:1000])
        arrived.set()
        go.wait(20)
        exchange.close_connection = True

    repository.overrides["targets/"] = stall
    failures: list[EdgeError] = []

    def fetch() -> None:
        try:
            fetcher.fetch(COMMAND, ignore)
        except EdgeError as error:
            failures.append(error)

    thread = threading.Thread(target=fetch)
    thread.start()
    assert arrived.wait(20)
    pid = fetcher.pid
    assert pid is not None
    incoming = store.incoming_path(bundles("1").digest)
    wait_for(incoming.exists)
    os.kill(pid, signal.SIGKILL)
    thread.join(20)
    go.set()
    assert "signal 9" in str(failures[0])
    assert failures[0].retryable
    repository.overrides.clear()
    assert fetcher.fetch(COMMAND, ignore) == bundles("1").digest
    assert repository.requests[served] == 2


def test_a_fetch_can_be_cancelled_from_another_thread(repository: RepositorySimulator, fetcher: SubprocessFetcher) -> None:
    arrived, go = threading.Event(), threading.Event()

    def stall(exchange: Exchange) -> None:
        arrived.set()
        go.wait(20)
        exchange.close_connection = True

    repository.overrides["metadata/timestamp"] = stall
    watcher = threading.Thread(target=lambda: arrived.wait(20) and fetcher.cancel())
    watcher.start()
    with pytest.raises(FetchError, match="cancelled"):
        fetcher.fetch(COMMAND, ignore)
    go.set()
    watcher.join()


def test_a_fetch_that_takes_too_long_is_ended(repository: RepositorySimulator, place: Place, store: FileStore) -> None:
    go = threading.Event()
    repository.overrides["metadata/timestamp"] = lambda exchange: exchange.send_status(500) if go.wait(20) else None
    with pytest.raises(FetchError, match=r"not done after 1 s"):
        SubprocessFetcher(place, FACTS, store, fetch_timeout_s=0.6).fetch(COMMAND, ignore)
    go.set()


def truncate(repository: RepositorySimulator, data: bytes, served: str) -> None:
    repository.overrides["targets/"] = lambda exchange: exchange.send_file(data, cut_after=100)


def swap_bytes(repository: RepositorySimulator, data: bytes, served: str) -> None:
    repository.files[served] = data[:-1] + b"!"


def oversize(repository: RepositorySimulator, data: bytes, served: str) -> None:
    repository.files[served] = data + b"more"


def forge(repository: RepositorySimulator, data: bytes, served: str) -> None:
    repository.files["metadata/timestamp.json"] = repository.files["metadata/timestamp.json"].replace(b'"version":', b'"version":1')


def withdraw(repository: RepositorySimulator, data: bytes, served: str) -> None:
    del repository.files[served]


@pytest.mark.parametrize(
    ("attack", "kind"),
    [(truncate, FetchError), (swap_bytes, TrustError), (oversize, TrustError), (forge, TrustError), (withdraw, FetchRefused)],
)
def test_a_hostile_repository_puts_nothing_into_the_store(
    repository: RepositorySimulator,
    fetcher: SubprocessFetcher,
    store: FileStore,
    bundles: Callable[[str], TinyBundle],
    attack: Callable[[RepositorySimulator, bytes, str], None],
    kind: type[EdgeError],
) -> None:
    data = bundles("1").path.read_bytes()
    attack(repository, data, repository.add("m", "1", data))
    with pytest.raises(kind) as caught:
        fetcher.fetch(COMMAND, ignore)
    assert type(caught.value) is kind
    assert not store.present(bundles("1").digest)


@pytest.mark.parametrize(
    ("command", "kind", "word"),
    [
        (replace(COMMAND, version="9"), FetchRefused, "no m@9"),
        (replace(COMMAND, digest="0" * 64), TrustError, "ordered"),
        (replace(COMMAND, source="file", path="/nowhere/x.edgemodel"), FetchRefused, "No such file"),
        (replace(COMMAND, source="store", version="9"), FetchRefused, "no longer in the store"),
    ],
)
def test_what_cannot_be_fetched_says_why(
    repository: RepositorySimulator,
    fetcher: SubprocessFetcher,
    bundles: Callable[[str], TinyBundle],
    command: UpdateCommand,
    kind: type[EdgeError],
    word: str,
) -> None:
    repository.add("m", "1", bundles("1").path.read_bytes())
    with pytest.raises(kind, match=word):
        fetcher.fetch(command, ignore)


def test_a_bundle_larger_than_allowed_is_not_transferred(
    repository: RepositorySimulator, place: Place, store: FileStore, bundles: Callable[[str], TinyBundle]
) -> None:
    served = repository.add("m", "1", bundles("1").path.read_bytes())
    with pytest.raises(FetchRefused, match="max_bundle_mib"):
        SubprocessFetcher(replace(place, max_bundle_bytes=100), FACTS, store).fetch(COMMAND, ignore)
    assert repository.requests[served] == 0


def test_a_quarantined_bundle_is_not_transferred(
    repository: RepositorySimulator, fetcher: SubprocessFetcher, store: FileStore, bundles: Callable[[str], TinyBundle]
) -> None:
    served = repository.add("m", "1", bundles("1").path.read_bytes())
    store.quarantine(bundles("1").digest, "it crashed")
    with pytest.raises(TrustError, match="it crashed"):
        fetcher.fetch(COMMAND, ignore)
    assert repository.requests[served] == 0


def test_without_a_repository_the_key_is_named(place: Place, store: FileStore) -> None:
    with pytest.raises(FetchRefused, match=r"updates\.repository"):
        SubprocessFetcher(Place(place.store, place.metadata), FACTS, store).fetch(COMMAND, ignore)


def test_a_file_is_adopted_and_one_that_is_no_bundle_is_refused(
    tmp_path: Path, fetcher: SubprocessFetcher, bundles: Callable[[str], TinyBundle]
) -> None:
    command = replace(COMMAND, source="file", path=str(bundles("1").path))
    assert fetcher.verify(command, fetcher.fetch(command, ignore)).name == "m"
    junk = tmp_path / "junk.edgemodel"
    junk.write_bytes(b"not a bundle")
    digest = fetcher.fetch(replace(command, path=str(junk)), ignore)
    with pytest.raises(BundleError, match="not a bundle"):
        fetcher.verify(command, digest)


def test_a_bundle_that_is_not_what_was_ordered_or_not_for_this_device_is_refused(
    tmp_path: Path, fetcher: SubprocessFetcher, store: FileStore
) -> None:
    other = tiny_bundle(tmp_path / "a.edgemodel", name="other", version="1", requires=Requirements(arch=("riscv64",)))
    digest = store.adopt(other.path)
    with pytest.raises(BundleError, match="is other@1, not m@1"):
        fetcher.verify(COMMAND, digest)
    with pytest.raises(BundleError, match="riscv64"):
        fetcher.verify(replace(COMMAND, model="other"), digest)
    assert not store.folder(digest).exists()


def test_an_object_damaged_on_the_disk_is_removed(
    fetcher: SubprocessFetcher, store: FileStore, bundles: Callable[[str], TinyBundle]
) -> None:
    digest = store.adopt(bundles("1").path)
    store.object_path(digest).write_bytes(b"\0" * 100)
    with pytest.raises(TrustError, match="damaged"):
        fetcher.verify(COMMAND, digest)
    assert not store.present(digest)


def test_a_process_that_fails_otherwise_gives_its_last_words(fetcher: SubprocessFetcher) -> None:
    with pytest.raises(StoreError, match=r"status 1: .*KeyError"):
        fetcher.fetch(replace(COMMAND, source="odd"), ignore)


ORPHAN = """
import os, subprocess, sys, threading
from pathlib import Path
from edge_agent.update.compatibility import DeviceFacts
from edge_agent.update.fetch_client import SubprocessFetcher
from edge_agent.update.machine import UpdateCommand
from edge_agent.update.request import Place
from edge_agent.update.store import FileStore
root, url = Path(sys.argv[1]), sys.argv[2]
store = FileStore(root / "store")
fetcher = SubprocessFetcher(Place(root / "store", root / "metadata", url, root / "1.root.json"), DeviceFacts("p", "x", 0, "1"), store)
threading.Thread(target=lambda: print(fetcher.fetch(UpdateCommand("c", "m", "1"), print)), daemon=True).start()
while fetcher.pid is None:
    pass
print(fetcher.pid, flush=True)
sys.stdin.read()
"""


def test_the_updater_ends_with_the_agent(repository: RepositorySimulator, place: Place, tmp_path: Path) -> None:
    arrived, go = threading.Event(), threading.Event()

    def stall(exchange: Exchange) -> None:
        arrived.set()
        go.wait(20)
        exchange.close_connection = True

    repository.overrides["metadata/timestamp"] = stall
    agent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path), repository.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        assert arrived.wait(20)
        agent.kill()
    wait_for(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes(), what="the updater to end")
    go.set()


def test_a_request_survives_the_pipe(place: Place) -> None:
    request = Request("fetch", COMMAND, place, FACTS, digest="d", parent=5)
    assert decode_request(encode_request(request)) == request
    assert decode_request(encode_request(replace(request, place=Place(place.store, place.metadata)))).place.trusted_root is None


def test_the_agents_side_loads_neither_tuf_nor_an_http_client() -> None:
    code = (
        "import sys, edge_agent.update.updater, edge_agent.update.fetch_client, edge_agent.update.store, edge_agent.update.journal\n"
        "heavy = ('tuf', 'urllib3', 'cryptography', 'securesystemslib', 'numpy', 'zipfile', 'urllib.request')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
