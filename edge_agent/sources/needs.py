"""What a kind of source needs that may not be installed, found out without importing or starting it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

_EXTRAS: Mapping[str, tuple[str, str]] = {"serial": ("serial", "pyserial"), "camera": ("cv2", "OpenCV")}
"""Module and library by kind of source, which is also the name of the extra."""


def missing_need(kind: str, options: Mapping[str, Any]) -> tuple[str, str]:
    """Key of the option it concerns and what to do, both empty when nothing is missing."""
    if kind in _EXTRAS:
        module, library = _EXTRAS[kind]
        if find_spec(module) is None:
            return "kind", f"{library} is not installed: pip install 'edge-runtime[{kind}]'"
    if kind == "audio" and shutil.which("arecord") is None:
        return "kind", "arecord is not installed: apt install alsa-utils"
    if kind == "exec" and shutil.which(str(options["command"][0])) is None:
        return "command", f"{options['command'][0]} is not a program here"
    return "", ""
