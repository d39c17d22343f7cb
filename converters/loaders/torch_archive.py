"""Which of PyTorch's formats a file is, and what it would import or touch when opened, told from its bytes alone."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path

from converters.errors import InputError
from converters.loaders.pickled import imports_in

PROGRAM, SCRIPT, MODULE = "program", "script", "module"
MAX_BYTES = 4 << 30
MAX_PICKLE_BYTES = 256 << 20
MAX_ENTRIES = 100_000
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, RecursionError)
_DATA = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\._utils\._rebuild_(tensor_v2|parameter|qtensor)|torch\.\w+Storage|torch\.storage\._load_from_bytes"
    r"|torch\.(float32|float64|float16|bfloat16|int8|int16|int32|int64|uint8|bool|Size|device)|torch\.jit\._pickle\.\w+"
    r"|torch\.serialization\._get_layout|torch\.storage\.\w+Storage|__torch__\..*|torch\.nn\.parameter\.Parameter"
)
_SCRIPT_ACTS = re.compile(rb"\b(torch\.save|torch\.from_file|torch\.load|ops\.(?!prim\b|aten\b|quantized\b)\w+)\b")


def kind_in(path: Path, *, trust: bool) -> str:
    """:data:`PROGRAM` or :data:`SCRIPT`; with ``trust`` also :data:`MODULE`.

    Raises :class:`InputError` for anything else, saying what it is and what is missing.
    """
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: is no PyTorch file of version 1.6 or newer (no zip archive); save it again, best with torch.export.save")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(path, archive)
            names = {name.partition("/")[2]: name for name in archive.namelist()}
            if "archive_format" in names or "serialized_exported_program.json" in archive.namelist():
                return _program(path, archive, trust=trust)
            if "constants.pkl" in names:
                return _script(path, archive, names, trust=trust)
            pickled = names.get("data.pkl")
            imports = imports_in(_read(archive, pickled)) if pickled else frozenset()
    except _DAMAGE as error:
        raise InputError(f"{path}: is a damaged PyTorch file ({error})") from None
    if pickled is None:
        raise InputError(f"{path}: is no PyTorch file (a zip archive without data.pkl)")
    foreign = sorted(
        (name for name in imports if not _DATA.fullmatch(name)), key=lambda name: (name.startswith(("torch.", "__builtin__")), name)
    )
    if foreign and trust:
        return MODULE
    raise InputError(_why_not(path, foreign))


def _program(path: Path, archive: zipfile.ZipFile, *, trust: bool) -> str:
    acts: set[str] = set()
    for entry in archive.infolist():
        name = entry.filename.rpartition("/")[2]
        if name.startswith("custom_obj"):
            acts.add(f"object {name}")
        elif name.endswith((".pt", ".pkl")) or "pickle" in name:
            acts |= _foreign(_read(archive, entry.filename))
    _refuse(path, acts, trust=trust)
    return PROGRAM


def _script(path: Path, archive: zipfile.ZipFile, names: dict[str, str], *, trust: bool) -> str:
    acts: set[str] = set()
    for inner, name in names.items():
        if inner.endswith(".pkl"):
            acts |= _foreign(_read(archive, name))
        elif inner.startswith("code/") and inner.endswith(".py"):
            acts |= {found.decode() for found in _SCRIPT_ACTS.findall(_read(archive, name))}
    _refuse(path, acts, trust=trust)
    return SCRIPT


def _foreign(data: bytes) -> set[str]:
    """What a pickle, or the pickle in an archive within the archive, imports beside plain tensors."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            return {found for name in inner.namelist() if name.endswith(".pkl") for found in _foreign(_read(inner, name))}
    return {name for name in imports_in(data) if not _DATA.fullmatch(name)} if data else set()


def _refuse(path: Path, acts: set[str], *, trust: bool) -> None:
    if acts and not trust:
        named = ", ".join(sorted(acts)[:5])
        raise InputError(
            f"{path}: would run or touch more than a network to be read ({named}); give --trust if you know where it comes from"
        )


def _why_not(path: Path, foreign: list[str]) -> str:
    """A state dict lacks its code; a pickled module lacks it too, and runs code besides."""
    if foreign:
        named = ", ".join(foreign[:3])
        return (
            f"{path}: is a pickled module ({named}), which runs code when it is opened and needs the classes it was made of; "
            "export it where they are: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2'); "
            "or give --trust in the folder that holds them"
        )
    return (
        f"{path}: holds weights only (a state dict), without the network; "
        "give the code that makes it: MODEL as package.module:function, this file as --weights, and --input for each input"
    )


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    if total > MAX_BYTES or len(entries) > MAX_ENTRIES:
        raise InputError(f"{path}: unpacks to {total} bytes in {len(entries)} files; at most {MAX_BYTES} in {MAX_ENTRIES} are taken in")


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_PICKLE_BYTES:
        raise ValueError(f"{name} has more than {MAX_PICKLE_BYTES} bytes")
    return archive.read(name)
