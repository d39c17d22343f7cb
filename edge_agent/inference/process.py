"""What a process of the agent asks of Linux about itself: die with its parent, its name, its limits, its priority, its memory."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

from edge_agent.errors import EdgeError
from edge_agent.inference.pages import forget_libraries

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_CAP_SYS_NICE = 23
MIB = 1 << 20


def begin(title: str, parent_pid: int) -> None:
    """Die when the parent dies, be called ``title`` (15 bytes in ``/proc/PID/comm``), leave the terminal's signals to the control process.

    Raises EdgeError when the parent is gone already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NAME, title.encode()[:15], 0, 0, 0)
    # Ctrl-C and a service manager's SIGTERM reach the whole group; the control process ends the others in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.getppid() != parent_pid:
        raise EdgeError("the parent process is gone")


def keep_only(fds: tuple[int, ...]) -> None:
    """Close every descriptor but 0, 1, 2 and ``fds``."""
    kept = {0, 1, 2, *fds}
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in kept:
            try:
                os.close(int(entry.name))
            except OSError:
                pass  # the descriptor that listed the folder


def thread_count() -> int:
    """Threads of this process, as the kernel counts them."""
    return len(list(Path("/proc/self/task").iterdir()))


def give_back_memory() -> None:
    """Return to the kernel what was needed to get here: freed heap pages and pages of libraries. Call with one thread."""
    trim_heap()
    forget_libraries()


def trim_heap() -> None:
    """Return freed heap pages to the kernel (glibc's malloc_trim; nothing where libc has none). Any number of threads."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def limit_memory(mib: int) -> None:
    """Bound private writable memory to ``mib`` MiB (RLIMIT_DATA, which since Linux 4.7 counts private mappings). 0 is no limit."""
    if mib > 0:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = mib * MIB if hard == resource.RLIM_INFINITY else min(mib * MIB, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def yield_to_others() -> None:
    """Run only when others leave time. Idle policy where the way back is open (see sched(7)), else batch policy.

    Does nothing where the policy may not be changed.
    """
    policy = os.SCHED_IDLE if _may_leave_idle() else os.SCHED_BATCH
    _set_policy(policy)


def compete_again() -> None:
    """Back to the normal policy."""
    _set_policy(os.SCHED_OTHER)


def _set_policy(policy: int) -> None:
    try:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError:
        pass


def _may_leave_idle() -> bool:
    # The kernel lets a process leave SCHED_IDLE only when it may set its own nice value: RLIMIT_NICE of 20 - nice, or CAP_SYS_NICE.
    soft, _ = resource.getrlimit(resource.RLIMIT_NICE)
    if soft == resource.RLIM_INFINITY or soft >= 20 - os.getpriority(os.PRIO_PROCESS, 0):
        return True
    capabilities = status_value("CapEff")
    return bool(capabilities) and bool(int(capabilities, 16) >> _CAP_SYS_NICE & 1)


def peak_rss_mib() -> float:
    """The most memory this process ever had resident (VmHWM), shared pages included; 0.0 where the kernel does not tell."""
    words = status_value("VmHWM").split()
    return int(words[0]) / 1024 if words else 0.0


def status_value(key: str) -> str:
    """A line of ``/proc/self/status``, empty when there is none."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    return ""
