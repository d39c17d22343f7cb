"""Folders of files: a sub-folder a class, or all in one where nothing is known of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converters.errors import InputError


def files_of(path: Path, endings: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Files with one of ``endings`` in order of their names, and the name of each one's class, empty when they lie in no sub-folder."""
    inside = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    flat = _matching(path, endings)
    if flat:
        return flat, []
    files = [file for folder in inside for file in _matching(folder, endings)]
    if not files:
        raise InputError(f"{path}: holds no {', '.join(endings)} files, nor do its sub-folders")
    return files, [file.parent.name for file in files]


def _matching(path: Path, endings: Sequence[str]) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in endings and file.is_file())
