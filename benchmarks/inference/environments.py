"""The environments of the peers: one a peer under EDGE_BENCH_ENVS (default ~/.cache/edge-runtime/bench-envs), made by pip once.

What decides a comparison is pinned, or it would rot: Triton's newest wheel that has the server in it, the last ``tritonclient`` wheel that
has ``perf_analyzer`` in it, MLServer with the uvloop it works with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from benchmarks.convert.peers_homes import environment_size

HOME = Path(os.environ.get("EDGE_BENCH_ENVS", Path.home() / ".cache" / "edge-runtime" / "bench-envs"))
TIMEOUT_S = 1200.0
DEBIAN_PYTHON = Path("/usr/bin/python3.11")
"""Triton's Python back end wants the libpython it was built for: that of a distribution, not one built with pyenv."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What pip installs, and the libraries of the system without which it does not start, with the Debian package that has each."""

    requirements: tuple[str, ...]
    libraries: Mapping[str, str] = field(default_factory=dict)


WANTED: Mapping[str, Wanted] = MappingProxyType(
    {
        "triton": Wanted(("nvidia-pytriton==0.7.0", "onnxruntime==1.31.1"), {"libpython3.11.so.1.0": "libpython3.11"}),
        "tritonclient": Wanted(("tritonclient[http,grpc]==2.73.0",)),
        "perf-analyzer": Wanted(("--no-deps", "tritonclient==2.41.0", "nvidia-cuda-runtime-cu12"), {"libb64.so.0d": "libb64-0d"}),
        "fastapi": Wanted(("fastapi", "uvicorn", "httptools", "uvloop", "orjson", "onnxruntime==1.31.1")),
        "mlserver": Wanted(("mlserver==1.7.1", "uvloop<0.22", "onnxruntime==1.31.1")),
        "kserve": Wanted(("kserve==0.21.0", "onnxruntime==1.31.1")),
    }
)


@dataclass(frozen=True, slots=True)
class Environment:
    """One that is there. ``site`` is its site-packages."""

    python: Path
    site: Path

    @property
    def mb(self) -> float:
        """What it takes on the disk without pip, 10^6 bytes."""
        return environment_size(self.python.parent.parent)[0]


def environment(name: str) -> Environment | str:
    """The environment, made now where it is missing; or why it is not at hand."""
    folder = HOME / name
    if not (folder / "ready").is_file():
        reason = _make(folder, WANTED[name])
        if reason:
            shutil.rmtree(folder, ignore_errors=True)
            return f"not at hand: {reason}"
    return Environment(folder / "bin" / "python", next(folder.glob("lib/python*/site-packages")))


def _make(folder: Path, wanted: Wanted) -> str:
    if not DEBIAN_PYTHON.is_file():
        return f"there is no {DEBIAN_PYTHON} (on Debian 12: apt-get install python3.11-venv)"
    for library, package in wanted.libraries.items():
        if library not in subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout:
            return f"there is no {library} (on Debian: apt-get install {package})"
    folder.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted.requirements]
    for command in ([str(DEBIAN_PYTHON), "-m", "venv", "--clear", str(folder)], pip):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"{command[1]} {command[2]} took more than {TIMEOUT_S:.0f} s"
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "WARNING" not in line] or ["it said nothing"]
            return f"{' '.join(command[1:4])} ended with {done.returncode} ({said[-1][:200]})"
    (folder / "ready").touch()
    return ""
