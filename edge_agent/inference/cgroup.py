"""A memory limit for each worker by the kernel's own account (cgroup v2), where the service's part of the tree is the service's to divide.

Beside RLIMIT_DATA, which bounds one process's private mappings, this bounds what is really used, shared memory and page tables included;
the kernel says afterwards that it killed for memory; and it needs ``Delegate=memory`` in the unit (systemd.resource-control(5)).
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
CONTROL = "control"
WORKER_PREFIX = "worker-"
_MIB = 1 << 20

Remove = Callable[[Path], None]


class Cgroups:
    """The service's cgroup, divided: one leaf for the control process and its helpers, one for each worker.

    Methods that talk to the kernel never raise: a limit that cannot be set is told by the result, and the caller falls back to an rlimit.
    """

    def __init__(self, base: Path, rmdir: Remove = os.rmdir) -> None:
        self._base = base
        self._rmdir = rmdir

    def place(self, pid: int, name: str, memory_mib: int) -> bool:
        """Put ``pid`` alone into a cgroup of ``name`` that may use ``memory_mib`` and no swap; all of it is killed when that is exceeded.

        False when that did not work; then nothing of it is left. What the process used before stays on its parent's account.
        """
        folder = self._folder(name)
        try:
            folder.mkdir(exist_ok=True)
            _write(folder / "memory.max", str(memory_mib * _MIB))
            _write(folder / "cgroup.procs", str(pid))
        except OSError:
            self.remove(name)
            return False
        # Without swap accounting, and before Linux 4.19, there are no such files.
        for file, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            _try_to_write(folder / file, value)
        return True

    def oom_killed(self, name: str) -> bool:
        """Whether the kernel killed a process of ``name`` for memory since it was placed."""
        return _count(self._folder(name) / "memory.events", "oom_kill") > 0

    def peak_mib(self, name: str) -> float | None:
        """The most memory that ``name`` used (Linux 5.19 and later, else None)."""
        try:
            return int((self._folder(name) / "memory.peak").read_text()) / _MIB
        except (OSError, ValueError):
            return None

    def remove(self, name: str) -> bool:
        """Take the cgroup of a process that is gone away; false while one is still in it. True when there is none."""
        try:
            self._rmdir(self._folder(name))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def _folder(self, name: str) -> Path:
        return self._base / (WORKER_PREFIX + re.sub(r"[^A-Za-z0-9@._-]", "_", name))


def open_cgroups(root: Path = ROOT, own: Path = OWN, *, rmdir: Remove = os.rmdir) -> Cgroups | None:
    """Ready to place workers, with this process (and whatever shares its cgroup) moved into a leaf of its own; None where it is not ours.

    The kernel lets a cgroup either have processes or divide its memory among children, hence the leaf.
    """
    base = _own_cgroup(root, own)
    if base is None or not _delegated(base):
        return None
    try:
        if "memory" not in (base / "cgroup.controllers").read_text().split():
            return None
        _clear_out(base)
        _write(base / "cgroup.subtree_control", "+memory")
    except OSError:
        return None
    cgroups = Cgroups(base, rmdir)
    for left in base.glob(f"{WORKER_PREFIX}*"):
        cgroups.remove(left.name.removeprefix(WORKER_PREFIX))
    return cgroups


def _own_cgroup(root: Path, own: Path) -> Path | None:
    """The folder of this process's cgroup, or the one above when this process is in its leaf already."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")
    base = root / path.lstrip("/")
    if not path or path == "/" or not (base / "cgroup.controllers").is_file():
        return None  # cgroup v1, or the root, which is everybody's
    return base.parent if base.name == CONTROL else base


def _delegated(base: Path) -> bool:
    """Whether the tree from ``base`` down was given away. A service manager gives it to the user of the service, and marks it; only the
    mark tells root, who may write everywhere, what is its own."""
    try:
        owner = base.stat().st_uid
        if owner != 0:
            return owner == os.geteuid() and os.access(base / "cgroup.procs", os.W_OK)
    except OSError:
        return False
    return any(_attribute(base, name) == b"1" for name in ("user.delegate", "trusted.delegate"))


def _attribute(path: Path, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""


def _clear_out(base: Path) -> None:
    """Move every process of ``base`` into the leaf, those that are started meanwhile too."""
    leaf = base / CONTROL
    leaf.mkdir(exist_ok=True)
    for _ in range(10):
        pids = (base / "cgroup.procs").read_text().split()
        if not pids:
            return
        for pid in pids:
            _try_to_write(leaf / "cgroup.procs", pid)  # it may have ended just now


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)


def _try_to_write(path: Path, text: str) -> None:
    try:
        _write(path, text)
    except OSError:
        pass


def _count(path: Path, key: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, value = line.partition(" ")
        if name == key and value.isdigit():
            return int(value)
    return 0


def killed_for_memory(cgroups: Cgroups | None, name: str, exit_signal: int) -> bool:
    """Whether a worker that ended by ``exit_signal`` was killed by the kernel for want of memory, as far as can be known."""
    return exit_signal == signal.SIGKILL and cgroups is not None and cgroups.oom_killed(name)
