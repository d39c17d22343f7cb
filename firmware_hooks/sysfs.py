"""Reading the one-line files of sysfs. A file that is missing, unreadable or not a number is None: sensors come and go."""

from __future__ import annotations

from pathlib import Path

_MAX_BYTES = 4096


def read_line(path: Path) -> str | None:
    """The file's text without surrounding blanks and NULs."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace").strip("\0 \n\t")
    except OSError:
        return None


def read_int(path: Path, *, base: int = 10) -> int | None:
    """The file's whole number; ``base`` 16 accepts it with and without 0x."""
    try:
        return int(read_line(path) or "", base)
    except ValueError:
        return None


def numbered(folder: Path, stem: str) -> list[Path]:
    """``folder/stem0``, ``folder/stem1``, ... in the order of their numbers."""
    found = [entry for entry in folder.glob(f"{stem}*") if entry.name[len(stem) :].isdigit()]
    return sorted(found, key=lambda entry: int(entry.name[len(stem) :]))
