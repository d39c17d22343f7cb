"""How much processor time is left of what one pruning may take."""

from __future__ import annotations

import time


class Budget:
    """``seconds`` of processor time of this process, from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.process_time()

    def spent_s(self) -> float:
        return time.process_time() - self._began

    def over(self, part: float = 1.0) -> bool:
        """Whether that ``part`` of it is spent."""
        return self.spent_s() >= part * self.seconds
