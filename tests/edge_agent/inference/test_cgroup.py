"""Memory limits by cgroup: on a simulated tree that has the kernel's rules, and on the real one where it is ours."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

from edge_agent.inference import cgroup
from edge_agent.inference.cgroup import Cgroups, killed_for_memory, open_cgroups

SERVICE = "system.slice/edge-agent.service"


class Tree:
    """A cgroup v2 tree in a folder. Ours by owner or by mark; ``rmdir`` refuses while a process is inside, as the kernel does."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, controllers: str = "cpu memory pids", service: str = SERVICE
    ) -> None:
        self.root, self.own = folder / "cgroup", folder / "own"
        self.service = self.root / service
        self.service.mkdir(parents=True)
        (self.service / "cgroup.controllers").write_text(controllers)
        (self.service / "cgroup.procs").write_text("")
        self.own.write_text(f"1:name=systemd:/x\n0::/{SERVICE}\n")
        self.processes: dict[str, str] = {}
        self.refuse: dict[str, int] = {}
        real_write = cgroup._write

        def write(path: Path, text: str) -> None:
            if path.name in self.refuse:
                raise OSError(self.refuse[path.name], "refused")
            if path.name == "cgroup.subtree_control" and str(path.parent) in self.processes.values():
                raise OSError(errno.EBUSY, "has processes")
            real_write(path, text)
            if path.name == "cgroup.procs":
                self.processes[text] = str(path.parent)
                (self.service / "cgroup.procs").write_text("\n".join(self.inside(self.service)))

        monkeypatch.setattr(cgroup, "_write", write)
        monkeypatch.setattr(cgroup, "_attribute", lambda path, name: b"1" if name == "user.delegate" else b"")

    def inside(self, folder: Path) -> list[str]:
        return [pid for pid, where in self.processes.items() if where == str(folder)]

    def start(self, *pids: int) -> None:
        self.processes.update({str(pid): str(self.service) for pid in pids})
        (self.service / "cgroup.procs").write_text("\n".join(self.inside(self.service)))

    def rmdir(self, folder: Path) -> None:
        if not folder.exists():
            raise FileNotFoundError(folder)
        if self.inside(folder):
            raise OSError(errno.EBUSY, "has processes")
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    def open(self) -> Cgroups | None:
        return open_cgroups(self.root, self.own, rmdir=self.rmdir)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def opened(tree: Tree) -> Cgroups:
    cgroups = tree.open()
    assert cgroups is not None
    return cgroups


def test_the_control_process_and_all_beside_it_move_into_a_leaf_before_memory_is_divided(tree: Tree) -> None:
    tree.start(100, 101)
    opened(tree)
    assert tree.inside(tree.service / "control") == ["100", "101"] and tree.inside(tree.service) == []
    assert (tree.service / "cgroup.subtree_control").read_text() == "+memory"


def test_a_process_in_its_leaf_already_divides_the_cgroup_above(tree: Tree) -> None:
    tree.start(100)
    opened(tree)
    (tree.service / "control" / "cgroup.controllers").write_text("")
    tree.own.write_text(f"0::/{SERVICE}/control\n")
    assert opened(tree).place(7, "m", 10)
    assert tree.inside(tree.service / "worker-m") == ["7"]


def test_a_worker_gets_its_limit_no_swap_and_dies_as_a_whole(tree: Tree) -> None:
    cgroups = opened(tree)
    assert cgroups.place(200, "digits@1.0.0/../x", 64)
    folder = tree.service / "worker-digits@1.0.0_.._x"
    read = {name: (folder / name).read_text() for name in ("memory.max", "memory.swap.max", "memory.oom.group", "cgroup.procs")}
    assert read == {"memory.max": str(64 << 20), "memory.swap.max": "0", "memory.oom.group": "1", "cgroup.procs": "200"}


@pytest.mark.parametrize("file", ["memory.swap.max", "memory.oom.group"])
def test_what_older_kernels_lack_is_done_without(tree: Tree, file: str) -> None:
    tree.refuse[file] = errno.EACCES
    assert opened(tree).place(200, "m", 64)


@pytest.mark.parametrize("file", ["memory.max", "cgroup.procs"])
def test_a_limit_that_cannot_be_set_is_told_and_leaves_nothing(tree: Tree, file: str) -> None:
    cgroups = opened(tree)
    tree.refuse[file] = errno.ESRCH
    assert not cgroups.place(200, "m", 64)
    assert not (tree.service / "worker-m").exists()


def test_death_for_memory_is_told_from_other_deaths(tree: Tree) -> None:
    cgroups = opened(tree)
    cgroups.place(200, "m", 64)
    events = tree.service / "worker-m" / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n")
    assert not cgroups.oom_killed("m")
    events.write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n")
    assert cgroups.oom_killed("m") and killed_for_memory(cgroups, "m", signal.SIGKILL)
    assert not killed_for_memory(cgroups, "m", signal.SIGSEGV)
    assert not killed_for_memory(None, "m", signal.SIGKILL) and not cgroups.oom_killed("unheard-of")


def test_the_peak_is_told_where_the_kernel_knows_it(tree: Tree) -> None:
    cgroups = opened(tree)
    cgroups.place(200, "m", 64)
    assert cgroups.peak_mib("m") is None
    (tree.service / "worker-m" / "memory.peak").write_text(f"{3 << 20}\n")
    assert cgroups.peak_mib("m") == 3.0


def test_a_cgroup_goes_when_its_process_is_gone(tree: Tree) -> None:
    cgroups = opened(tree)
    cgroups.place(200, "m", 64)
    assert not cgroups.remove("m")
    del tree.processes["200"]
    assert cgroups.remove("m") and cgroups.remove("m")
    assert not (tree.service / "worker-m").exists()


def test_what_an_earlier_life_left_is_taken_away(tree: Tree) -> None:
    cgroups = opened(tree)
    cgroups.place(200, "old", 64)
    cgroups.place(201, "alive", 64)
    del tree.processes["200"]
    opened(tree)
    assert sorted(path.name for path in tree.service.glob("worker-*")) == ["worker-alive"]


def test_without_the_memory_controller_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Tree(tmp_path, monkeypatch, controllers="cpu pids").open() is None


def test_a_cgroup_that_was_not_given_away_is_left_alone(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(cgroup, "_attribute", lambda path, name: b"")
    tree.start(100)
    assert tree.open() is None
    assert tree.inside(tree.service) == ["100"] and not (tree.service / "control").exists()


@pytest.mark.parametrize("line", ["", "0::/\n", "4:memory:/x\n", "0::/unheard.service\n"])
def test_no_cgroup_of_the_service_no_limits(tree: Tree, line: str) -> None:
    tree.own.write_text(line)
    assert tree.open() is None


def test_no_proc_no_limits(tree: Tree) -> None:
    tree.own.unlink()
    assert tree.open() is None


def test_a_kernel_that_refuses_to_divide_gives_none(tree: Tree) -> None:
    tree.refuse["cgroup.subtree_control"] = errno.EBUSY
    assert tree.open() is None


def _real_base() -> Path | None:
    """A cgroup v2 of the machine in which a test may divide memory, as root."""
    root = Path("/sys/fs/cgroup")
    controllers = root / "cgroup.subtree_control"
    try:
        usable = os.access(root / "cgroup.procs", os.W_OK) and "memory" in controllers.read_text().split()
    except OSError:
        return None
    return root if usable else None


@pytest.mark.skipif(_real_base() is None, reason="/sys/fs/cgroup is not a writable cgroup v2 tree that divides memory")
def test_the_kernel_kills_for_memory_and_says_so() -> None:
    real = _real_base()
    assert real is not None
    base = real / f"edge-test-{os.getpid()}"
    base.mkdir()
    try:
        (base / "cgroup.subtree_control").write_text("+memory")
        cgroups = Cgroups(base)
        code = "import sys; sys.stdin.read(1); block = bytearray(200 << 20); print(len(block))"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        assert cgroups.place(child.pid, "m", 64)
        child.communicate(b"x", timeout=30)
        assert child.returncode == -signal.SIGKILL and cgroups.oom_killed("m")
        wait_for(lambda: cgroups.remove("m"), what="the cgroup is gone")
    finally:
        base.rmdir()
