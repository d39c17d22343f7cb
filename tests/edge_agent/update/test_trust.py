"""The signed metadata: what is accepted, what is refused, and what a power cut leaves of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from repository_simulator import Exchange, RepositorySimulator
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeError, FetchError, FetchRefused, TrustError
from edge_agent.update.request import Place
from edge_agent.update.trust import Trust

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)


def trust(place: Place) -> Trust:
    assert place.trusted_root is not None
    return Trust(place.metadata, place.repository, place.trusted_root, SystemClock(), timeout_s=5)


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_a_published_target_is_found_with_its_length_and_hash(repository: RepositorySimulator, place: Place) -> None:
    served = repository.add("m", "1.0+a", b"bytes")
    target = trust(place).target("m", "1.0+a")
    assert target.length == 5
    assert served == target.path.replace("%2B", "+")


def test_nothing_is_written_when_nothing_changed(repository: RepositorySimulator, place: Place) -> None:
    repository.add("m", "1", b"bytes")
    trust(place).target("m", "1")
    before = tree(place.metadata)
    repository.requests.clear()
    trust(place).target("m", "1")
    assert tree(place.metadata) == before
    assert set(before) == {"root_history/1.root.json", "timestamp.json", "snapshot.json", "targets.json"}
    assert sorted(repository.requests) == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_a_new_root_is_followed_and_kept(repository: RepositorySimulator, place: Place) -> None:
    repository.add("m", "1", b"bytes")
    trust(place).target("m", "1")
    repository.rotate_root()
    repository.add("m", "2", b"more")
    assert trust(place).target("m", "2").length == 4
    repository.requests.clear()
    trust(place).target("m", "2")
    assert repository.requests["metadata/2.root.json"] == 0, "the second root is read from the device"


@pytest.mark.parametrize("name", ["timestamp.json", "snapshot.json", "targets.json"])
def test_metadata_torn_on_the_device_is_fetched_again(repository: RepositorySimulator, place: Place, name: str) -> None:
    repository.add("m", "1", b"bytes")
    trust(place).target("m", "1")
    (place.metadata / name).write_bytes(b"\0" * 100)
    (place.metadata / ".tmp-torn").write_bytes(b"half")
    assert trust(place).target("m", "1").length == 5
    assert not (place.metadata / ".tmp-torn").exists()


def test_a_target_that_is_not_there_is_refused(repository: RepositorySimulator, place: Place) -> None:
    with pytest.raises(FetchRefused, match="no m@9"):
        trust(place).target("m", "9")


def test_a_target_signed_under_another_name_is_not_trusted(repository: RepositorySimulator, place: Place) -> None:
    repository.add("m", "1", b"bytes", sign=False)
    repository.targets.targets["m/1.edgemodel"].unrecognized_fields["custom"] = {"model": "other", "version": "1"}
    repository.sign_all()
    with pytest.raises(TrustError, match="other@1"):
        trust(place).target("m", "1")


def sign_with_a_strange_key(repository: RepositorySimulator) -> None:
    repository.signers["targets"] = CryptoSigner.generate_ed25519()
    repository.add("m", "2", b"evil")


def change_a_signed_byte(repository: RepositorySimulator) -> None:
    repository.add("m", "2", b"evil")
    path = f"metadata/{repository.targets.version}.targets.json"
    repository.files[path] = repository.files[path].replace(b'"length":4', b'"length":5')


def expire(repository: RepositorySimulator) -> None:
    repository.timestamp.expires = PAST
    repository.sign_all()


def go_back(repository: RepositorySimulator) -> None:
    repository.timestamp.version -= 5
    repository.sign_all()


def mix_and_match(repository: RepositorySimulator) -> None:
    repository.sign_all()
    old = f"metadata/{repository.snapshot.version - 1}.snapshot.json"
    repository.files[f"metadata/{repository.snapshot.version}.snapshot.json"] = repository.files[old]


def flood(repository: RepositorySimulator) -> None:
    repository.overrides["metadata/timestamp.json"] = lambda exchange: exchange.send_file(b" " * 100_000)


def rubbish(repository: RepositorySimulator) -> None:
    repository.files["metadata/timestamp.json"] = b"[" * 10_000


def wrong_role(repository: RepositorySimulator) -> None:
    repository.files["metadata/timestamp.json"] = repository.files[f"metadata/{repository.snapshot.version}.snapshot.json"]


def root_of_a_stranger(repository: RepositorySimulator) -> None:
    metadata = Metadata.from_bytes(repository.files["metadata/1.root.json"])
    metadata.signed.version = 2
    metadata.signatures.clear()
    metadata.sign(CryptoSigner.generate_ed25519())
    repository.files["metadata/2.root.json"] = metadata.to_bytes()


HOSTILE = [sign_with_a_strange_key, change_a_signed_byte, expire, go_back, mix_and_match, flood, rubbish, wrong_role, root_of_a_stranger]


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda f: f.__name__)
def test_a_hostile_repository_is_not_trusted_and_forgets_nothing(
    repository: RepositorySimulator, place: Place, attack: Callable[[RepositorySimulator], None]
) -> None:
    for _ in range(5):
        repository.sign_all()
    repository.add("m", "1", b"good")
    trust(place).target("m", "1")
    files = dict(repository.files)
    attack(repository)
    with pytest.raises(TrustError):
        trust(place).target("m", "2")
    repository.files, repository.overrides = files, {}
    if attack in (expire, go_back, flood, rubbish, wrong_role, root_of_a_stranger):  # the others showed a newer signed timestamp
        assert trust(place).target("m", "1").length == 4, "an honest repository is believed again"


def test_an_expired_repository_is_refused_on_first_contact(repository: RepositorySimulator, place: Place) -> None:
    for signed in (repository.timestamp, repository.snapshot, repository.targets):
        signed.expires = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(seconds=5)
    repository.sign_all()
    with pytest.raises(TrustError, match="expired"):
        trust(place).target("m", "1")


@pytest.mark.parametrize(
    ("status", "kind"), [(403, FetchRefused), (404, FetchRefused), (429, FetchError), (500, FetchError), (503, FetchError)]
)
def test_the_server_says_whether_trying_again_helps(
    repository: RepositorySimulator, place: Place, status: int, kind: type[EdgeError]
) -> None:
    repository.overrides["metadata/timestamp.json"] = lambda exchange: exchange.send_status(status)
    with pytest.raises(kind, match=str(status)):
        trust(place).target("m", "1")


def test_no_server_is_worth_another_try(repository: RepositorySimulator, place: Place, tmp_path: Path) -> None:
    lonely = Place(place.store, place.metadata, "http://127.0.0.1:9", place.trusted_root)
    with pytest.raises(FetchError, match=r"127\.0\.0\.1"):
        trust(lonely).target("m", "1")


@pytest.mark.parametrize("address", ["ftp://x/y", "/etc", "", "http://[::1", "file:///etc/passwd"])
def test_an_address_that_is_none_is_refused(place: Place, address: str) -> None:
    wrong = Place(place.store, place.metadata, address, place.trusted_root)
    with pytest.raises(FetchRefused):
        trust(wrong).target("m", "1")


def test_a_missing_root_says_which_file(place: Place, tmp_path: Path) -> None:
    lost = Place(place.store, place.metadata, place.repository, tmp_path / "nowhere.json")
    with pytest.raises(TrustError, match=r"nowhere\.json"):
        trust(lost).target("m", "1")


def test_what_a_killed_refresh_left_in_memory_is_gone_after_the_next(
    repository: RepositorySimulator, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "shm"
    memory.mkdir()
    monkeypatch.setattr("edge_agent.update.trust._MEMORY", memory)
    seen: list[str] = []

    def answer(exchange: Exchange) -> None:
        seen.extend(path.name for path in memory.iterdir())
        exchange.send_status(503)

    repository.overrides["metadata/timestamp"] = answer
    with pytest.raises(FetchError):
        trust(place).target("m", "1")
    (memory / seen[0]).mkdir()
    (memory / seen[0] / "timestamp.json").write_text("left by one that was killed")
    (memory / "edge-trust-000000000000-others").mkdir()
    with pytest.raises(FetchError):
        trust(place).target("m", "1")
    assert [path.name for path in memory.iterdir()] == ["edge-trust-000000000000-others"]
