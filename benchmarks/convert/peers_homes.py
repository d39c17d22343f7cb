"""The environments of the peers: one a peer, under EDGE_BENCH_PEERS or .machine-peers beside the repository's files, made by pip once.

Bounds are from below only, so that each is at its newest; what was installed is part of the result.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("EDGE_BENCH_PEERS", ROOT / ".machine-peers"))
TIMEOUT_S = 900.0
_TOOLS = ("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack")


@dataclass(frozen=True, slots=True)
class Home:
    """An environment that is made: its interpreter, what it takes on the disk (10^6 bytes, without pip), the version of what it is for."""

    python: Path
    mb: float
    distributions: int
    version: str


WANTED: Mapping[str, tuple[tuple[str, ...], tuple[int, int]]] = MappingProxyType(
    {
        "onnxruntime": (("onnxruntime>=1.20", "onnx>=1.17"), (3, 11)),
        "onnx2tf": (("onnx2tf>=2.6",), (3, 12)),
        "ai-edge-quantizer": (("ai-edge-quantizer>=0.10",), (3, 10)),
        "nncf": (("nncf>=3", "onnx>=1.17", "onnxruntime>=1.20"), (3, 10)),
    }
)
"""Requirements, and the lowest Python that the newest of them take."""


def home(peer: str) -> Home | str:
    """The environment, made now where it is missing; or why it is not at hand."""
    folder = HOME / peer
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        reason = _make(peer, folder)
        if reason:
            shutil.rmtree(folder, ignore_errors=True)
            return f"not at hand: {reason}"
    return Home(python, *environment_size(folder), _version(python, peer))


def _make(peer: str, folder: Path) -> str:
    requirements, lowest = WANTED[peer]
    python = _interpreter(lowest)
    if python is None:
        return f"needs Python {lowest[0]}.{lowest[1]} or newer, and none is on PATH"
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    for command in ([python, "-m", "venv", "--clear", str(folder)], pip):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"{command[1]} {command[2]} took more than {TIMEOUT_S:.0f} s"
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "WARNING" not in line] or ["it said nothing"]
            return f"{' '.join(command[1:4])} ended with {done.returncode} ({said[-1][:200]})"
    (folder / "ready").touch()
    return ""


def _interpreter(lowest: tuple[int, int]) -> str | None:
    """Ours where it is new enough, else one on PATH that really starts (pyenv's shims often do not), else one that pyenv has."""
    if sys.version_info[:2] >= lowest:
        return sys.executable
    for minor in range(13, lowest[1] - 1, -1):
        own = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/3.{minor}.*/bin/python3"))
        for found in (shutil.which(f"python3.{minor}"), *map(str, own)):
            if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
                return found
    return None


def environment_size(folder: Path) -> tuple[float, int]:
    """What an environment takes on the disk without pip (10^6 bytes), and its distributions."""
    site = next(folder.glob("lib/python*/site-packages"))
    parts = [part for part in site.iterdir() if not part.name.startswith(_TOOLS)]
    files = [file for part in parts for file in ([part] if part.is_file() else part.rglob("*")) if file.is_file() and not file.is_symlink()]
    return sum(file.stat().st_size for file in files) / 1e6, sum(part.name.endswith(".dist-info") for part in parts)


def _version(python: Path, peer: str) -> str:
    code = "import importlib.metadata as m, json, sys; print(json.dumps(m.version(sys.argv[1])))"
    return str(json.loads(subprocess.run([python, "-c", code, peer], capture_output=True, text=True, check=True).stdout))
