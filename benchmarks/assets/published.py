"""What an asset's own check says, run as it is in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 300.0
_LINE = re.compile(r"(?:ok  |DIFF) (?P<figure>.*?)\s+(?P<value>\S+)   recorded (?P<recorded>\S+) ± (?P<within>\S+)")


@dataclass(frozen=True, slots=True)
class Published:
    """One figure: what the check found just now, what was recorded, and how far apart they may be."""

    figure: str
    value: float
    recorded: float
    within: float

    def kept(self, ours: float) -> bool:
        """Whether ``ours`` is the recorded figure too, as the check itself judges."""
        return abs(ours - self.recorded) <= self.within + 1e-12


def published(folder: Path) -> tuple[Published, ...]:
    """Every figure of ``folder``. Raises SystemExit when its check does not run."""
    check = folder / "check.py"
    done = subprocess.run([sys.executable, str(check)], capture_output=True, text=True, timeout=TIMEOUT_S, cwd=folder, check=False)
    lines = [found for line in done.stdout.splitlines() if (found := _LINE.fullmatch(line.rstrip()))]
    if not lines:
        raise SystemExit(f"{check}: said nothing: {done.stderr.strip()[-300:]}")
    return tuple(Published(m["figure"], float(m["value"]), float(m["recorded"]), float(m["within"])) for m in lines)
