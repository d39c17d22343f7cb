"""The tool environments on this machine: where they are, whether one is complete, making and removing them.

One folder a tool. ``ready.json`` in it is written last and durably, so a folder without one was never finished; one that names other
requirements than the tool has now is stale. Both count as absent and are made anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from converters.errors import InputError
from converters.tools.catalogue import TOOLS, Tool, is_tool, runtime_tool, tool_of
from converters.tools.install import install, interpreter_for
from edge_agent.errors import EdgeError
from edge_agent.update.durable import write_durable

__all__ = ["TOOLS", "Made", "Tool", "find", "home", "listed", "make", "remove", "runtime_tool", "tool_of"]

Tell = Callable[[str], None]
_READY = "ready.json"
_MAX_READY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Made:
    """An environment that is complete: its interpreter, what it was asked to hold, and the version of each package in it."""

    name: str
    python: Path
    requirements: tuple[str, ...]
    installed: tuple[tuple[str, str], ...]


def home() -> Path:
    """The folder of all tool environments: ``$EDGE_CONVERT_TOOLS``, or ``edge-runtime/tools`` in the user's cache."""
    named = os.environ.get("EDGE_CONVERT_TOOLS")
    if named:
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "edge-runtime" / "tools"


def find(tool: Tool) -> Path | None:
    """The Python of the environment of ``tool``, or ``None`` where it is not made, not finished, or holds something else by now."""
    made = _made(tool.name)
    return made.python if made and made.requirements == tool.requirements else None


def make(tool: Tool, tell: Tell) -> Path:
    """The Python of the environment of ``tool``, made now where it is missing: this downloads. pip's own configuration says from where.

    Raises :class:`~edge_agent.errors.RuntimeMissing` when no fitting Python is here or pip fails; nothing is left behind then.
    """
    with _held(tool.name, tell):
        found = find(tool)
        if found is not None:
            return found
        folder = home() / tool.name
        _delete(folder)
        python = interpreter_for(tool)
        tell(f"tool {tool.name}: making its environment in {folder} ({tool.about})")
        try:
            inside, installed = install(tool, python, folder, tell)
            os.sync()  # what pip wrote must not be younger than the word that it is complete
            ready = {"requirements": tool.requirements, "python": inside.name, "installed": installed}
            write_durable(folder / _READY, json.dumps(ready, indent=2, sort_keys=True).encode())
        except BaseException:
            _delete(folder)
            raise
        tell(f"tool {tool.name}: ready")
        return inside


def remove(name: str, tell: Tell = lambda text: None) -> bool:
    """Deletes the environment called ``name``; whether there was one, finished or not. Raises :class:`InputError` for an unknown name."""
    tool_of(name)
    folder = home() / name
    if not folder.exists():
        return False
    with _held(name, tell):
        _delete(folder)
    return True


def listed() -> tuple[Made, ...]:
    """Every complete environment, by name; stale ones too. What else lies in :func:`home` is not looked at."""
    folder = home()
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    return tuple(made for name in names if is_tool(name) and (made := _made(name)))


def _made(name: str) -> Made | None:
    folder = home() / name
    ready = folder / _READY
    try:
        if ready.stat().st_size > _MAX_READY_BYTES:
            return None
        tree = json.loads(ready.read_bytes())
        requirements = tuple(str(text) for text in tree["requirements"])
        installed = tuple(sorted((str(package), str(version)) for package, version in tree["installed"].items()))
        python = folder / "bin" / Path(str(tree["python"])).name
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return Made(name, python, requirements, installed) if os.access(python, os.X_OK) else None


def _delete(folder: Path) -> None:
    """Its ``ready.json`` first: what is left of it when we are interrupted must not look complete."""
    (folder / _READY).unlink(missing_ok=True)
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _held(name: str, tell: Tell) -> Iterator[None]:
    """Only one process makes or removes an environment; the lock goes with the process, however it ends."""
    try:
        home().mkdir(parents=True, exist_ok=True)
        handle = os.open(home() / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"{home()}: cannot hold tool environments ({error.strerror}); set EDGE_CONVERT_TOOLS to another folder") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"tool {name}: another process is making or removing it; waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise EdgeError(f"{home()}: cannot be locked ({error.strerror})") from None
        yield
    finally:
        os.close(handle)
