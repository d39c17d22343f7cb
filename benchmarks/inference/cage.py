"""A memory control group (cgroups(7)) with a low limit: the kernel's own OOM killer ends what asks for too much in it."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

ROOT = Path("/sys/fs/cgroup")
LIMIT_BYTES = 4 << 20
V1, V2 = "memory.limit_in_bytes", "memory.max"


class Cage:
    """``refusal`` says why there is none: not root, or no memory controller that may be used."""

    def __init__(self, root: Path = ROOT) -> None:
        self.refusal = ""
        self._folder = (root / "memory" if (root / "memory" / V1).exists() else root) / f"edge-bench-{os.getpid()}"

    def __enter__(self) -> Cage:
        try:
            self._folder.mkdir()
            limit = next((self._folder / name for name in (V1, V2) if (self._folder / name).exists()), None)
            if limit is None:
                self.refusal = f"{self._folder.parent} has no memory controller for groups below it"
            else:
                limit.write_text(str(LIMIT_BYTES))
        except OSError as error:
            self.refusal = f"{self._folder} cannot be made ({error.strerror})"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._folder.rmdir()
        except OSError:
            pass  # never made, or the server whose worker is in it still runs

    def take(self, pid: int) -> None:
        """From now on ``pid`` gets :data:`LIMIT_BYTES` more at most."""
        (self._folder / "cgroup.procs").write_text(str(pid))
