"""Versions of installed distributions, read from the names of their metadata folders.

The standard library's reader answers the same, and brings along parsers of mail, CSV and ZIP: 2.5 MiB in each process that asks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path


class NotInstalled(LookupError):
    """There is no such distribution."""


def version_of(name: str, folders: Sequence[str] | None = None) -> str:
    """The version of the distribution ``name``, from the first of ``folders`` (``sys.path`` when None) that has it.

    Source: PyPA "Recording installed projects" (``NAME-VERSION.dist-info``, with ``-`` in either written ``_``), and setuptools'
    ``NAME-VERSION[-pyX.Y].egg-info`` as distributions' own packages have it. Raises :class:`NotInstalled`.
    """
    wanted = re.compile(rf"{_escaped(name)}-([^-]+)(-py[\d.]+)?\.(dist|egg)-info", re.IGNORECASE)
    for folder in sys.path if folders is None else folders:
        try:
            names = sorted(entry.name for entry in Path(folder).iterdir())
        except OSError:
            continue  # sys.path names archives and folders that are not there
        for entry in names:
            found = wanted.fullmatch(entry)
            if found is not None:
                return found[1]
    raise NotInstalled(name)


def _escaped(name: str) -> str:
    """A pattern for ``name`` in whichever of the three ways it was written."""
    return "[-_.]+".join(re.escape(part) for part in re.split(r"[-_.]+", name))
