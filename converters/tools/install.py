"""Making an environment: a Python that fits, a venv of it, and pip as the user has set it up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from converters.tools.catalogue import Tool
from converters.tools.group import ended, ended_group, lines_of
from edge_agent.errors import RuntimeMissing
from edge_agent.versions import version_key

Tell = Callable[[str], None]
PROBE_TIMEOUT_S = 30.0
_TOLD = ("Collecting ", "Downloading ", "Installing collected packages")
_LIST = (
    "import importlib.metadata as m, json;"
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions() if d.metadata['Name']}))"
)


def interpreter_for(tool: Tool) -> str:
    """The Python to make the environment of: our own where it fits, else the newest fitting ``python3.N`` on PATH.

    Raises :class:`RuntimeMissing` that names the versions that would do.
    """
    lowest, highest = version_key(tool.python[0]), version_key(tool.python[1])
    for candidate in _candidates(highest, lowest):
        if lowest <= _version(candidate) <= highest:
            return candidate
    raise RuntimeMissing(
        f"tool {tool.name}: needs Python {tool.python[0]} to {tool.python[1]}, and none is on PATH; install one, with its venv module"
    )


def install(tool: Tool, python: str, folder: Path, tell: Tell) -> tuple[Path, dict[str, str]]:
    """Makes a venv in ``folder`` and installs what ``tool`` requires; its Python, and the versions by package.

    Raises :class:`RuntimeMissing` with the end of what pip said.
    """
    bare = [] if tool.requirements else ["--without-pip"]
    _run(tool, [python, "-I", "-m", "venv", *bare, str(folder)], "its environment cannot be made", tell)
    inside = folder / "bin" / "python"
    if tool.requirements:
        pip = [str(inside), "-I", "-m", "pip", "install", "--no-input", "--progress-bar", "off", "--disable-pip-version-check"]
        _run(tool, [*pip, *tool.requirements], "pip cannot install it", tell)
    said = subprocess.run([str(inside), "-I", "-c", _LIST], capture_output=True, timeout=PROBE_TIMEOUT_S, check=True).stdout
    return inside, dict(json.loads(said))


def _candidates(highest: tuple[int, ...], lowest: tuple[int, ...]) -> Iterator[str]:
    yield sys.executable
    for minor in range(highest[1], lowest[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield found


def _version(python: str) -> tuple[int, ...]:
    """(3, 11) for a Python that starts and can make environments, () for one that does not (a shim without its version, a torn install)."""
    code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        said = subprocess.run([python, "-I", "-c", code], capture_output=True, timeout=PROBE_TIMEOUT_S, check=True).stdout
        return tuple(int(part) for part in said.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


def _run(tool: Tool, command: list[str], trouble: str, tell: Tell) -> None:
    """Runs ``command``, telling of progress. An end of ours ends it and all it started."""
    # Settings that send packages elsewhere than into the environment would leave it empty; where they come from stays the user's.
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONHOME")}
    environment["PIP_USER"] = "0"
    last: deque[str] = deque(maxlen=12)
    with ended_group(command, environment) as child:
        for raw in lines_of(child):
            line = raw.decode("utf-8", "replace").strip()
            if line.startswith(_TOLD):
                tell(f"tool {tool.name}: {line[:160]}")
            if line:
                last.append(line)
        status = ended(child)
    if status != 0:
        raise RuntimeMissing(f"tool {tool.name}: {trouble}:\n  " + "\n  ".join(last))
