"""Which reader gathers what the user calls samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converters.errors import InputError
from converters.gather import pictures, sounds
from converters.gather.pictures import gather_pictures
from converters.gather.said import SamplesSaid
from converters.gather.sounds import gather_sounds
from converters.gather.table import gather_table
from edge_agent.values import TensorSpec


def needs_gathering(path: Path) -> bool:
    """Whether ``path`` is anything but an .npz file."""
    return path.is_dir() or path.suffix.lower() in (".csv",)


def samples_file(path: Path, folder: Path) -> Path:
    """Where the samples in ``path`` are read from: it itself, or what will be gathered of it in ``folder``."""
    return folder / "samples.npz" if needs_gathering(path) else path


def gather(path: Path, said: SamplesSaid, classes: Sequence[str], inputs: Sequence[TensorSpec], out: Path) -> None:
    """Writes the samples in ``path`` to ``out`` (.npz) for a model with ``inputs``. Raises :class:`InputError` naming what is wrong."""
    if not path.is_dir():
        gather_table(path, said, classes, [spec.name for spec in inputs], out)
        return
    kind = _kind(path)
    if kind == "sounds":
        gather_sounds(path, said, classes, out)
    else:
        gather_pictures(path, said, classes, inputs, out)


def _kind(path: Path) -> str:
    """What a folder holds, told by the first file that is known; its own files before those of its sub-folders."""
    inside = sorted(child for child in path.iterdir() if child.is_dir())
    for folder in (path, *inside):
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in sounds.ENDINGS:
                return "sounds"
            if file.suffix.lower() in pictures.ENDINGS:
                return "pictures"
    known = ", ".join((*pictures.ENDINGS, *sounds.ENDINGS))
    raise InputError(f"{path}: holds no samples; a folder must hold {known} files, or sub-folders of them, one for each class")
