"""The store: what is visible is complete, what a crash leaves is swept, no name leads outside."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import TinyBundle
from store_faults import strace_reason, tiny_disk

from edge_agent.errors import StoreError, StoreFull
from edge_agent.update.durable import write_durable
from edge_agent.update.store import FileStore

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
Install = Callable[[str], str]


def test_an_adopted_bundle_is_found_by_digest_and_by_name(store: FileStore, bundles: Callable[[str], TinyBundle]) -> None:
    digest = store.adopt(bundles("1").path)
    assert digest == bundles("1").digest
    assert store.present(digest)
    assert store.find("m", "1") == "", "not verified yet"
    assert store.unpack(digest).version == "1"
    assert store.find("m", "1") == digest
    assert store.healthy(digest)
    assert store.manifest(digest).name == "m"


def test_the_pointer_remembers_what_served_before(store: FileStore, install: Install) -> None:
    _, two, three = install("1"), install("2"), install("3")
    assert (store.active("m"), store.previous("m")) == (three, two)
    store.set_active("m", two)
    assert (store.active("m"), store.previous("m")) == (two, three)
    store.set_active("m", two)
    assert store.previous("m") == three, "the same again changes nothing"
    assert store.models() == ("m",)
    store.set_active("m", "")
    assert (store.active("m"), store.models()) == ("", ())


def test_a_forgotten_version_gives_way_to_the_one_before(store: FileStore, install: Install) -> None:
    one, two, three = install("1"), install("2"), install("3")
    store.set_active("m", two, forget=three)
    assert (store.active("m"), store.previous("m")) == (two, one)


def test_a_quarantined_version_is_nothing_to_go_back_to(store: FileStore, install: Install) -> None:
    one, two, _ = install("1"), install("2"), install("3")
    store.quarantine(two, "wrong answers")
    store.quarantine(two, "another reason")
    assert store.quarantined(two) == "wrong answers"
    assert store.previous("m") == one
    assert FileStore(store.root).quarantined(two) == "wrong answers"


def test_damage_is_detected_and_the_pointer_stays_truthful(store: FileStore, install: Install) -> None:
    one, two = install("1"), install("2")
    model = store.folder(two) / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    assert not store.healthy(two)
    assert store.active("m") == two
    assert store.previous("m") == one
    assert store.healthy(one)
    store.unpack(two)
    assert store.healthy(two), "the bundle is still whole and mends its files"
    assert not store.healthy(D)


def test_collecting_keeps_what_serves_served_and_is_wanted(store: FileStore, install: Install) -> None:
    digests = [install(v) for v in ("1", "2", "3", "4")]
    assert store.collect({digests[0]}) == (digests[1],)
    assert store.collect() == (digests[0],)
    assert store.healthy(digests[2])
    assert store.healthy(digests[3])


def test_what_a_crash_left_half_written_is_swept(store: FileStore, install: Install) -> None:
    one = install("1")
    for folder in (store.root, store.root / "objects", store.root / "unpacked", store.root / "active", store.root / "incoming"):
        (folder / ".tmp-torn").write_bytes(b"half")
    torn = store.root / "unpacked" / ".tmp-folder"
    torn.mkdir()
    (torn / "file").write_bytes(b"half")
    (store.root / "active" / "broken.json").write_text('{"active": "../../etc"}')
    (store.root / "quarantine.json").write_text("[")
    assert len(store.recover()) == 8
    assert not list(store.root.rglob(".tmp-*"))
    assert store.active("m") == one
    assert store.active("broken") == ""
    assert store.quarantined(one) == ""
    assert store.recover() == ()


NAMES_KEEPER = tempfile.TemporaryDirectory(prefix="edge-store-names-")  # gone when the tests end
NAMES = FileStore(Path(NAMES_KEEPER.name))


@given(word=st.text(max_size=80))
def test_no_name_leads_out_of_the_store(word: str) -> None:
    store = NAMES
    for path in (store.object_path, store.incoming_path, store.folder):
        with pytest.raises(StoreError):
            path(word)
    try:
        store.active(word)
    except StoreError:
        return
    assert "/" not in word
    assert not word.startswith(".")


@pytest.mark.parametrize("model", ["../x", "", ".", "..", "a/b", "a\0b", "x" * 65, "a\n"])
def test_a_model_name_that_is_a_path_is_refused(store: FileStore, model: str) -> None:
    with pytest.raises(StoreError, match="model name"):
        store.set_active(model, A)


def test_a_full_disk_leaves_the_old_pointer_and_no_litter(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", size_kib=128) as disk:
        store = FileStore(disk)
        store.set_active("m", A)
        fill(disk / "ballast")
        with pytest.raises(StoreFull, match="free some space"):
            store.set_active("m", B)
        with pytest.raises(StoreFull):
            store.quarantine(B, "bad")
        source = tmp_path / "big"
        source.write_bytes(b"x" * 200_000)
        with pytest.raises(StoreFull):
            store.adopt(source)
        assert store.active("m") == A
        assert store.quarantined(B) == ""
        assert not list(disk.rglob(".tmp-*"))
        (disk / "ballast").unlink()
        store.set_active("m", B)
        assert store.active("m") == B


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


SWITCH = (
    "import sys; from pathlib import Path; from edge_agent.update.store import FileStore\n"
    "store = FileStore(Path(sys.argv[1])); Path(sys.argv[1], 'ready').touch()\n"
    "store.set_active('m', 'b' * 64); print('done', flush=True)\n"
)


@pytest.mark.parametrize("fault", ["fsync:signal=KILL:when=1", "fsync:signal=KILL:when=2", "rename,renameat,renameat2:signal=KILL:when=1"])
def test_killed_at_each_system_call_the_pointer_is_old_or_new(tmp_path: Path, fault: str) -> None:
    reason = strace_reason()
    if reason:
        pytest.skip(reason)
    store = FileStore(tmp_path)
    store.set_active("m", A)
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}", sys.executable, "-c", SWITCH, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stdout == "", "the fault must have hit"
    assert (tmp_path / "ready").exists()
    store.recover()
    assert store.active("m") in (A, B)
    assert not list(tmp_path.rglob(".tmp-*"))
    store.set_active("m", C)
    assert store.active("m") == C


@pytest.mark.parametrize(
    "fault",
    ["fsync:error=ENOSPC:when=1", "rename,renameat,renameat2:error=ENOSPC:when=1", "fsync:error=EIO:when=1", "fsync:error=EDQUOT:when=1"],
)
def test_an_error_of_the_disk_leaves_the_old_pointer(tmp_path: Path, fault: str) -> None:
    reason = strace_reason()
    if reason:
        pytest.skip(reason)
    store = FileStore(tmp_path)
    store.set_active("m", A)
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={fault}", sys.executable, "-c", SWITCH, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert ("StoreError" if "EIO" in fault else "StoreFull") in done.stderr
    assert store.active("m") == A
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_write_is_whole_and_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durable(path, b"one")
    write_durable(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StoreError, match="nowhere"):
        write_durable(tmp_path / "nowhere" / "file", b"x")


def test_the_pointer_is_plain_json(store: FileStore, install: Install) -> None:
    one, two = install("1"), install("2")
    assert json.loads((store.root / "active" / "m.json").read_text()) == {"active": two, "history": [one]}
