"""The signed repository: what a strict client accepts from it, what it refuses to sign, who may write when."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from fleet_reader import Reader
from models import TinyBundle, tiny_bundle
from tuf.api.exceptions import ExpiredMetadataError, LengthOrHashMismatchError

from edge_agent.clock import ManualClock, SystemClock
from edge_agent.errors import BundleError
from fleet_controller.cli_repository import Renewer
from fleet_controller.errors import PublishRefused, RepositoryError
from fleet_controller.repository import Repository
from fleet_controller.repository_lock import repository_lock


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "repo", SystemClock())
    repository.init()
    return repository


@pytest.fixture
def bundle(tmp_path: Path) -> TinyBundle:
    return tiny_bundle(tmp_path / "one.edgemodel", version="1.0.0")


@pytest.fixture
def served(repo: Repository) -> Iterator[str]:
    """The address of ``edge-fleet serve`` as a process of its own."""
    command = [sys.executable, "-m", "fleet_controller", "serve", "--repo", str(repo.folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].strip()
        process.terminate()
        assert process.wait(10) == 0


def test_a_strict_client_gets_what_was_published_over_http(repo: Repository, bundle: TinyBundle, served: str, tmp_path: Path) -> None:
    reader = Reader(repo.public, tmp_path / "reader", served)
    assert reader.fetch("tiny", "1.0.0") is None
    repo.publish(bundle.path)
    assert reader.fetch("tiny", "1.0.0") == bundle.path.read_bytes()
    second = tiny_bundle(tmp_path / "two.edgemodel", version="2.0.0+rc.1", seed=2)
    repo.publish(second.path)
    assert reader.fetch("tiny", "2.0.0+rc.1") == second.path.read_bytes()


def test_a_strict_client_refuses_a_bundle_that_was_changed_on_the_server(
    repo: Repository, bundle: TinyBundle, served: str, tmp_path: Path
) -> None:
    repo.publish(bundle.path)
    (published,) = (repo.public / "targets" / "tiny").iterdir()
    data = bytearray(published.read_bytes())
    data[len(data) // 2] ^= 1
    published.write_bytes(data)
    with pytest.raises(LengthOrHashMismatchError):
        Reader(repo.public, tmp_path / "reader", served).fetch("tiny", "1.0.0")


def test_the_device_side_accepts_it_too(repo: Repository, bundle: TinyBundle, served: str, tmp_path: Path) -> None:
    from edge_agent.update.trust import Trust

    repo.publish(bundle.path)
    info = Trust(tmp_path / "metadata", served, repo.public / "root.json", SystemClock()).target("tiny", "1.0.0")
    assert (info.sha256, info.length) == (bundle.digest, bundle.path.stat().st_size)
    assert (repo.public / info.path).read_bytes() == bundle.path.read_bytes()


def test_private_keys_are_private_and_not_public(repo: Repository) -> None:
    keys = sorted((repo.folder / "keys").iterdir())
    assert [key.stem for key in keys] == ["root", "snapshot", "targets", "timestamp"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE((repo.folder / "keys").stat().st_mode) == 0o700
    for path in repo.public.rglob("*"):
        assert path.is_dir() or b"PRIVATE" not in path.read_bytes()


def test_a_new_repository_needs_an_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(RepositoryError, match="not an empty folder"):
        Repository(folder, SystemClock()).init()
    assert [p.name for p in tmp_path.iterdir()] == ["full"] and [p.name for p in folder.iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    Repository(tmp_path / "empty", SystemClock()).init()
    assert (tmp_path / "empty" / "public" / "root.json").is_file()


def test_the_same_bytes_again_change_nothing(repo: Repository, bundle: TinyBundle) -> None:
    assert repo.publish(bundle.path).new
    before = {p: p.read_bytes() for p in repo.folder.rglob("*") if p.is_file()}
    assert not repo.publish(bundle.path).new
    assert {p: p.read_bytes() for p in repo.folder.rglob("*") if p.is_file()} == before


def test_other_bytes_under_a_published_version_are_refused(repo: Repository, bundle: TinyBundle, tmp_path: Path) -> None:
    repo.publish(bundle.path)
    other = tiny_bundle(tmp_path / "other.edgemodel", version="1.0.0", seed=5)
    with pytest.raises(PublishRefused, match=r"tiny@1.0.0 is published already with other bytes.*give the new bundle a new version"):
        repo.publish(other.path)
    assert [t.sha256 for t in repo.targets()] == [bundle.digest]
    assert len(list((repo.public / "targets" / "tiny").iterdir())) == 1


def test_a_damaged_bundle_is_refused_by_its_name_and_leaves_nothing(repo: Repository, bundle: TinyBundle, tmp_path: Path) -> None:
    data = bytearray(bundle.path.read_bytes())
    data[-200] ^= 1
    bad = tmp_path / "bad.edgemodel"
    bad.write_bytes(data)
    before = sorted(repo.folder.rglob("*"))
    with pytest.raises(BundleError, match=r"bad\.edgemodel"):
        repo.publish(bad)
    assert sorted(p for p in repo.folder.rglob("*") if p.name != ".lock") == before


def test_metadata_that_was_tampered_with_is_never_signed_again(repo: Repository, bundle: TinyBundle, tmp_path: Path) -> None:
    repo.publish(bundle.path)
    path = repo.public / "metadata" / "2.targets.json"
    tree = json.loads(path.read_bytes())
    tree["signed"]["targets"]["tiny/1.0.0.edgemodel"]["hashes"]["sha256"] = "0" * 64
    path.write_text(json.dumps(tree))
    for act in (repo.targets, repo.refresh, lambda: repo.publish(tiny_bundle(tmp_path / "n.edgemodel", version="2").path)):
        with pytest.raises(RepositoryError, match="targets metadata was changed after it was signed"):
            act()


def test_a_key_that_is_elsewhere_is_asked_for_before_anything_is_written(repo: Repository, bundle: TinyBundle, tmp_path: Path) -> None:
    (repo.folder / "keys" / "targets.pem").rename(tmp_path / "targets.pem")
    with pytest.raises(RepositoryError, match=r"targets.pem: the targets key is not here"):
        repo.publish(bundle.path)
    assert list((repo.public / "targets").iterdir()) == []
    assert repo.refresh()["timestamp"] > datetime.now(timezone.utc)


def test_a_key_of_another_repository_is_refused(repo: Repository, bundle: TinyBundle, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other", SystemClock())
    other.init()
    mixed = Repository(repo.folder, SystemClock(), keys=other.folder / "keys")
    with pytest.raises(RepositoryError, match="targets key is not the one that the repository's root names"):
        mixed.publish(bundle.path)
    assert repo.targets() == ()


def test_keys_can_have_a_passphrase_and_lie_elsewhere(bundle: TinyBundle, tmp_path: Path) -> None:
    keys = tmp_path / "stick"
    Repository(tmp_path / "repo", SystemClock(), keys=keys, passphrase=b"sesame").init()
    assert not (tmp_path / "repo" / "keys").exists() and b"ENCRYPTED" in (keys / "root.pem").read_bytes()
    with pytest.raises(RepositoryError, match="encrypted; give its passphrase"):
        Repository(tmp_path / "repo", SystemClock(), keys=keys).publish(bundle.path)
    with pytest.raises(RepositoryError, match="wrong passphrase"):
        Repository(tmp_path / "repo", SystemClock(), keys=keys, passphrase=b"guess").publish(bundle.path)
    assert Repository(tmp_path / "repo", SystemClock(), keys=keys, passphrase=b"sesame").publish(bundle.path).new


def test_signatures_are_renewed_when_half_of_their_time_is_gone(bundle: TinyBundle, tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=int((datetime.now(timezone.utc) - timedelta(days=31)).timestamp()) * 10**9)
    repo = Repository(tmp_path / "repo", clock)
    repo.init()
    repo.publish(bundle.path)
    reader = Reader(repo.public, tmp_path / "reader")
    with pytest.raises(ExpiredMetadataError):
        reader.fetch("tiny", "1.0.0")
    assert not repo.refresh_if_due()
    clock.advance_s(31 * 86400)
    assert repo.refresh_if_due()
    assert reader.fetch("tiny", "1.0.0") == bundle.path.read_bytes()
    assert not repo.refresh_if_due()
    clock.advance_s(200 * 86400)
    assert repo.refresh()["targets"] - datetime.now(timezone.utc) > timedelta(days=500)


def test_a_device_that_saw_a_publication_undone_by_a_power_cut_gets_the_next_one(
    repo: Repository, bundle: TinyBundle, tmp_path: Path
) -> None:
    reader = Reader(repo.public, tmp_path / "reader")
    repo.publish(bundle.path)
    timestamp = repo.public / "metadata" / "timestamp.json"
    durable = timestamp.read_bytes()
    repo.publish(tiny_bundle(tmp_path / "two.edgemodel", version="2", seed=2).path)
    assert reader.fetch("tiny", "2") is not None
    timestamp.write_bytes(durable)
    assert repo.find("tiny", "2") is None
    third = tiny_bundle(tmp_path / "three.edgemodel", version="3", seed=3)
    repo.publish(third.path)
    assert reader.fetch("tiny", "3") == third.path.read_bytes()


def test_the_server_says_once_when_it_cannot_renew_and_once_when_it_can(
    bundle: TinyBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = ManualClock(wall_ns=SystemClock().wall_ns())
    repo = Repository(tmp_path / "repo", clock)
    repo.init()
    key, away = tmp_path / "repo" / "keys" / "timestamp.pem", tmp_path / "timestamp.pem"
    key.rename(away)
    renewer = Renewer(repo)
    renewer.renew()
    assert capsys.readouterr().err == ""
    clock.advance_s(20 * 86400)
    renewer.renew()
    renewer.renew()
    assert capsys.readouterr().err.count("cannot renew the signatures") == 1
    away.rename(key)
    renewer.renew()
    renewer.renew()
    assert capsys.readouterr().err == "edge-fleet: the signatures are fresh\n"


def test_a_second_writer_waits_and_then_says_who_is_in_the_way(repo: Repository) -> None:
    with (
        repository_lock(repo.folder, SystemClock()),
        pytest.raises(RepositoryError, match="another edge-fleet is writing"),
        repository_lock(repo.folder, SystemClock(), patience_s=0.1),
    ):
        pass
    repo.refresh()
