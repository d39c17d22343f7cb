"""The files that a build writes: all of them known, and found to be possible, before the work begins."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from converters.errors import InputError
from edge_agent.bundle.archive import EXTENSION


def beside_bundle(out: Path) -> tuple[Path, Path, Path]:
    """Page, JSON and picture of the bundle ``out``."""
    stem = out.name.removesuffix(EXTENSION)
    html, json, png = (out.with_name(f"{stem}.{ending}") for ending in ("report.html", "report.json", "front.png"))
    return html, json, png


def page_files(out: Path) -> tuple[Path, Path, Path]:
    """The page ``out`` with its JSON and picture. Raises :class:`InputError` for a name that the JSON would take."""
    if out.suffix == ".json":
        raise InputError(f"{out}: names the page of the report; give a name that ends with .html (the JSON is written beside it)")
    return out, out.with_suffix(".json"), out.with_name(f"{out.stem}.front.png")


def check_outputs(files: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raises :class:`InputError` now for ``files`` (the first is what the user named, the others go beside it) that could not be written in
    the end, are each other, or are among ``inputs``, which are never written to."""
    for file in files:
        _check_writable(file)
        for given in inputs:
            if given.exists() and file.resolve() == given.resolve():
                raise InputError(f"{files[0]}: {_what(file, files[0])} one of the inputs, which are never written to; give another name")


def check_apart(first: Sequence[Path], second: Sequence[Path]) -> None:
    """Raises :class:`InputError` where the same file would be written twice, with other contents."""
    for file in second:
        if file.resolve() in {other.resolve() for other in first}:
            raise InputError(f"{second[0]}: {_what(file, second[0])} what {first[0]} is written as; give another name")


def _what(file: Path, named: Path) -> str:
    return "is" if file == named else f"{file.name}, which is written beside it, is"


def _check_writable(out: Path) -> None:
    folder = out.parent
    if not folder.is_dir():
        raise InputError(f"{out}: the folder {folder} does not exist; make it first")
    try:
        found = os.stat(out).st_mode  # noqa: PTH116 - says why it cannot, which Path.exists does not
    except FileNotFoundError:
        found = stat.S_IFREG
    except OSError as error:
        raise InputError(f"{out}: cannot be written to ({error.strerror})") from None
    if stat.S_ISDIR(found):
        raise InputError(f"{out}: is a folder; give a file name")
    if not stat.S_ISREG(found):  # a rename would put a file in the place of the device, for root even of /dev/null
        raise InputError(f"{out}: is not a regular file and is not replaced; give a file name")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{out}: the folder {folder} cannot be written to")
