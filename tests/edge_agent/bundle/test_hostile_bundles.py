"""Bundles made to do harm, and bundles damaged at random: one BundleError each, nothing written."""

from __future__ import annotations

import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TinyBundle, tiny_bundle

from edge_agent.bundle.archive import read_bundle, read_manifest, unpack
from edge_agent.bundle.layout import LIMITS, Limits
from edge_agent.bundle.manifest import MANIFEST_NAME, to_json
from edge_agent.errors import BundleError, EdgeError

CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


@pytest.fixture
def good(tmp_path: Path) -> Iterator[TinyBundle]:
    yield tiny_bundle(tmp_path / "good.edgemodel", cases=1)


def names(folder: Path) -> list[str]:
    """What lies in ``folder``."""
    return sorted(path.name for path in folder.iterdir())


def pack(path: Path, entries: list[tuple[zipfile.ZipInfo, bytes]], *, comment: bytes = b"") -> Path:
    """A ZIP with exactly these entries, in this order."""
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in entries:
            archive.writestr(info, content)
        archive.comment = comment
    return path


def entry(name: str, content: bytes, **fields: int | bytes) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def parts(good: TinyBundle) -> list[tuple[zipfile.ZipInfo, bytes]]:
    """The entries of the good bundle, for adding to and taking from."""
    return [entry(MANIFEST_NAME, to_json(good.manifest)), *(entry(name, content) for name, content in sorted(good.files.items()))]


def refused(path: Path, *words: str) -> None:
    """The bundle is refused by every reader, with these words, and nothing appears beside it."""
    before = names(path.parent)
    for read in (read_manifest, read_bundle, lambda p: unpack(p, p.parent / "out")):
        with pytest.raises(BundleError) as caught:
            read(path)  # type: ignore[operator]
        for word in (path.name, *words):
            assert word in str(caught.value)
        assert "\n" not in str(caught.value)
    assert names(path.parent) == before


def test_files_that_are_no_bundles(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"hello\n" * 100), ("elf", b"\x7fELF" + bytes(500)), ("short", b"PK")):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "not a bundle")


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:/evil", "a//b", "./a", "a/.", "dir/", "a\nb", "a\x7fb", "x" * 201],
)
def test_names_that_leave_the_folder(good: TinyBundle, tmp_path: Path, name: str) -> None:
    refused(pack(tmp_path / "b", [*parts(good), entry(name, b"")]), "name")


def test_names_that_are_not_ascii(good: TinyBundle, tmp_path: Path) -> None:
    refused(pack(tmp_path / "b", [*parts(good), entry("módel", b"x")]), "ASCII")


def test_name_with_a_null_byte(good: TinyBundle, tmp_path: Path) -> None:
    path = pack(tmp_path / "b", [*parts(good), entry("a!b", b"x")])
    path.write_bytes(path.read_bytes().replace(b"a!b", b"a\0b"))
    refused(path, "plain relative path")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_twice_or_almost_twice(good: TinyBundle, tmp_path: Path) -> None:
    refused(pack(tmp_path / "b", [*parts(good), entry("model.onnx", b"x")]), "model.onnx", "twice")
    refused(pack(tmp_path / "c", [*parts(good), entry("MODEL.onnx", b"x")]), "case")
    refused(pack(tmp_path / "d", [*parts(good), entry("model.onnx/x", b"x")]), "folder of the other")
    refused(pack(tmp_path / "e", [*parts(good), entry(MANIFEST_NAME, b"{}")]), MANIFEST_NAME, "twice")


def test_names_undeclared_or_missing(good: TinyBundle, tmp_path: Path) -> None:
    refused(pack(tmp_path / "b", [*parts(good), entry("extra.bin", b"x")]), "extra.bin", "does not name")
    refused(pack(tmp_path / "c", parts(good)[:-1]), "lacks model.onnx")


def test_manifest_first_and_present(good: TinyBundle, tmp_path: Path) -> None:
    refused(pack(tmp_path / "b", parts(good)[1:]), "the first entry")
    refused(pack(tmp_path / "c", parts(good)[1:] + parts(good)[:1]), "the first entry")
    refused(pack(tmp_path / "d", []), "0 entries")


@pytest.mark.parametrize("mode", [0o120777, 0o060644, 0o020644, 0o010644, 0o140644, 0o040755])
def test_links_devices_pipes_sockets_and_folders(good: TinyBundle, tmp_path: Path, mode: int) -> None:
    refused(
        pack(tmp_path / "b", [*parts(good), entry("x", b"/etc/passwd", external_attr=mode << 16, create_system=3)]), "'x'", "link, device"
    )


def test_dos_folder_attribute(good: TinyBundle, tmp_path: Path) -> None:
    refused(pack(tmp_path / "b", [*parts(good), entry("x", b"", external_attr=0x10, create_system=0)]), "directory")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entries_so_also_bombs(good: TinyBundle, tmp_path: Path, method: int) -> None:
    bomb = entry("bomb", bytes(1 << 20), compress_type=method)
    refused(pack(tmp_path / "b", [*parts(good), bomb]), "compressed" if method != zipfile.ZIP_LZMA else "")


def test_unknown_compression(good: TinyBundle, tmp_path: Path) -> None:
    path = patched(good, tmp_path, lambda raw: both(raw, 8, 10, struct.pack("<H", 93)))
    refused(path, "compressed (method 93)")


def both(raw: bytes, local_at: int, central_at: int, new: bytes) -> bytes:
    """Sets the same field in the first local and the first central header."""
    data = bytearray(raw)
    for start, at in ((data.index(LOCAL), local_at), (data.index(CENTRAL), central_at)):
        data[start + at : start + at + len(new)] = new
    return bytes(data)


def patched(good: TinyBundle, tmp_path: Path, change: Callable[[bytes], bytes]) -> Path:
    path = tmp_path / "patched"
    path.write_bytes(change(good.path.read_bytes()))
    return path


def test_encrypted_entries(good: TinyBundle, tmp_path: Path) -> None:
    refused(patched(good, tmp_path, lambda raw: both(raw, 6, 8, b"\x01\x00")), "encrypted")
    refused(patched(good, tmp_path, lambda raw: both(raw, 6, 8, b"\x40\x00")), "encrypted")
    refused(patched(good, tmp_path, lambda raw: both(raw, 6, 8, b"\x08\x00")), "after its data")
    refused(patched(good, tmp_path, lambda raw: both(raw, 6, 8, b"\x00\x20")), "unknown flags")


def test_comments_and_bytes_around(good: TinyBundle, tmp_path: Path) -> None:
    refused(pack(tmp_path / "b", parts(good), comment=b"hi"), "comment or bytes after")
    refused(patched(good, tmp_path, lambda raw: raw + b"x"), "comment or bytes after")
    refused(patched(good, tmp_path, lambda raw: raw + raw), "belong to no entry")
    refused(patched(good, tmp_path, lambda raw: b"#!/bin/sh\n" + raw), "belong to no entry")
    refused(patched(good, tmp_path, lambda raw: raw[:-1]), "not a bundle")


def test_entry_comments_and_extra_fields(good: TinyBundle, tmp_path: Path) -> None:
    refused(pack(tmp_path / "b", [*parts(good), entry("x", b"", comment=b"hi")]), "'x'", "comment")
    refused(pack(tmp_path / "c", [*parts(good), entry("x", b"", extra=b"\x01\x00\x04\x00abcd")]), "'x'", "extra")
    refused(pack(tmp_path / "d", [*parts(good), entry("x", b"", comment=b"h" * 60_000)]), "comment")


def test_prefix_hidden_by_honest_offsets(good: TinyBundle, tmp_path: Path) -> None:
    """A self-extracting stub: the offsets are right, yet there are bytes before the first entry."""
    path = tmp_path / "b"
    path.write_bytes(b"#!/bin/sh\nrm -rf /\n")
    with zipfile.ZipFile(path, "a") as archive:
        for info, content in parts(good):
            archive.writestr(info, content)
    refused(path, "belong to no entry")


def test_two_entries_over_the_same_bytes(good: TinyBundle, tmp_path: Path) -> None:
    def overlap(raw: bytes) -> bytes:
        data = bytearray(raw)
        second = data.index(CENTRAL, data.index(CENTRAL) + 4)
        data[second + 42 : second + 46] = struct.pack("<L", 0)
        return bytes(data)

    refused(patched(good, tmp_path, overlap), "overlaps")


@pytest.mark.parametrize("field", [(14, 16, 4, "crc"), (10, 12, 2, "time"), (4, 6, 2, "version")])
def test_headers_that_disagree(good: TinyBundle, tmp_path: Path, field: tuple[int, int, int, str]) -> None:
    def change(raw: bytes) -> bytes:
        data = bytearray(raw)
        data[field[0]] ^= 0x55
        return bytes(data)

    refused(patched(good, tmp_path, change), "disagree")


def test_local_name_that_differs(good: TinyBundle, tmp_path: Path) -> None:
    refused(
        patched(good, tmp_path, lambda raw: raw.replace(b"model.onnx", b"model.exec", 2).replace(b"model.exec", b"model.onnx", 1)),
        "disagree",
    )


def test_sizes_that_lie(good: TinyBundle, tmp_path: Path) -> None:
    huge = struct.pack("<LL", 0x7FFFFFFF, 0x7FFFFFFF)
    refused(patched(good, tmp_path, lambda raw: both(raw, 18, 20, huge)), "more than")
    refused(patched(good, tmp_path, lambda raw: both(raw, 18, 20, struct.pack("<LL", 10, 1000))), "two different sizes")
    refused(patched(good, tmp_path, lambda raw: both(raw, 18, 20, struct.pack("<LL", 100_000, 100_000))), "beyond the space")


def test_zip64_and_split_archives(good: TinyBundle, tmp_path: Path) -> None:
    def end(at: int, new: bytes) -> Callable[[bytes], bytes]:
        def change(raw: bytes) -> bytes:
            start = len(raw) - 22
            return raw[: start + at] + new + raw[start + at + len(new) :]

        return change

    refused(patched(good, tmp_path, end(8, b"\xff\xff\xff\xff")), "ZIP64")
    refused(patched(good, tmp_path, end(16, b"\xff\xff\xff\xff")), "ZIP64")
    refused(patched(good, tmp_path, end(4, b"\x01\x00")), "several disks")
    refused(patched(good, tmp_path, end(8, b"\x01\x00\x01\x00")), "belong to no entry")


def test_manifest_lies_about_size_or_hash(good: TinyBundle, tmp_path: Path) -> None:
    first = good.manifest.files[0]
    shorter = replace(good.manifest, files=(replace(first, bytes=first.bytes - 1), *good.manifest.files[1:]))
    refused(pack(tmp_path / "b", [entry(MANIFEST_NAME, to_json(shorter)), *parts(good)[1:]]), first.path, "bytes")
    wrong = replace(good.manifest, files=(replace(first, sha256="0" * 64), *good.manifest.files[1:]))
    path = pack(tmp_path / "c", [entry(MANIFEST_NAME, to_json(wrong)), *parts(good)[1:]])
    with pytest.raises(BundleError, match=r"model\.onnx is damaged"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_limits(good: TinyBundle, tmp_path: Path) -> None:
    many = [entry(f"f{i}", b"") for i in range(LIMITS.max_entries)]
    refused(pack(tmp_path / "b", [*parts(good), *many]), "entries")
    refused(pack(tmp_path / "c", [entry(MANIFEST_NAME, b" " * (LIMITS.max_manifest_bytes + 1))]), MANIFEST_NAME, "at most")
    with pytest.raises(BundleError, match="more than 1000 bytes"):
        read_manifest(good.path, limits=Limits(max_total_bytes=1000))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": 2}', b'{"format": true}', b"1" * 5000])
def test_manifest_that_is_no_manifest(tmp_path: Path, text: bytes) -> None:
    refused(pack(tmp_path / "b", [entry(MANIFEST_NAME, text)]), MANIFEST_NAME)


@pytest.fixture(scope="module")
def sound() -> Iterator[TinyBundle]:
    with tempfile.TemporaryDirectory() as folder:
        yield tiny_bundle(Path(folder) / "sound.edgemodel", cases=1)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few random edits: flips, cuts, copies, insertions, and numbers put where headers keep numbers."""
    edits = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["flip", "cut", "copy", "insert", "number", "truncate"]),
                st.integers(0, 10_000),
                st.integers(0, 10_000),
                st.binary(min_size=1, max_size=8),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def change(raw: bytes) -> bytes:
        data = bytearray(raw)
        for kind, a, b, blob in edits:
            at, other = a % (len(data) + 1), b % (len(data) + 1)
            if kind == "flip" and at < len(data):
                data[at] ^= 1 << (b % 8)
            elif kind == "cut":
                del data[at : at + b % 64]
            elif kind == "copy":
                data[at:at] = data[other : other + 64]
            elif kind == "insert":
                data[at:at] = blob
            elif kind == "number":
                start = data.find(CENTRAL if a % 2 else LOCAL, at)
                start = max(start, 0) + b % 46
                data[start : start + len(blob)] = blob
            elif kind == "truncate":
                del data[at:]
        return bytes(data)

    return change


@settings(max_examples=400, deadline=None)
@given(change=mutations())
def test_random_damage_is_refused_or_harmless(sound: TinyBundle, change: Callable[[bytes], bytes]) -> None:
    raw = sound.path.read_bytes()
    damaged = change(raw)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "b.edgemodel"
        path.write_bytes(damaged)
        try:
            manifest, files = read_bundle(path)
        except BundleError:
            with pytest.raises(BundleError):
                unpack(path, folder / "out")
            assert names(folder) == ["b.edgemodel"]
            return
        assert (manifest, files) == (sound.manifest, dict(sound.files))
        unpack(path, folder / "out")
        assert names(folder) == ["b.edgemodel", "out"]
        written = {str(p.relative_to(folder / "out")) for p in (folder / "out").rglob("*") if p.is_file()}
        assert written == {MANIFEST_NAME, *sound.files}


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400), head=st.sampled_from([b"", LOCAL, CENTRAL, END]), tail=st.sampled_from([b"", END + bytes(18)]))
def test_random_bytes_are_refused(data: bytes, head: bytes, tail: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(head + data + tail)
        file.flush()
        with pytest.raises(EdgeError):
            read_manifest(Path(file.name))
