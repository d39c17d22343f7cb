"""How the answers of a candidate compare with those of the version that serves, on the same windows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Of the candidate ``digest``: windows both answered, how many of them got another label, the largest difference of a score
    (0.0 while none could be compared), and windows that the candidate failed on or did not answer in time."""

    digest: str = ""
    windows: int = 0
    disagreed: int = 0
    max_difference: float = 0.0
    failed: int = 0

    def plus(self, other: ShadowReport) -> ShadowReport:
        return ShadowReport(
            self.digest,
            self.windows + other.windows,
            self.disagreed + other.disagreed,
            max(self.max_difference, other.max_difference),
            self.failed + other.failed,
        )

    def __str__(self) -> str:
        if not self.windows and not self.failed:
            return "no window came while it answered beside the serving version"
        failed = f", failed on {self.failed}" if self.failed else ""
        return f"{self.disagreed} of {self.windows} windows got another label (scores up to {self.max_difference:.3g} apart){failed}"


def sum_of(digest: str, reports: Iterable[ShadowReport]) -> ShadowReport:
    """All of ``reports`` together."""
    total = ShadowReport(digest)
    for report in reports:
        total = total.plus(report)
    return total


def differs(label: str | None, scores: tuple[float, ...], other_label: str | None, other_scores: tuple[float, ...]) -> tuple[bool, float]:
    """Whether two verdicts on one window disagree, and by how much the scores differ where they are as many."""
    if len(scores) != len(other_scores):
        return True, 0.0
    difference = max((abs(a - b) for a, b in zip(scores, other_scores, strict=True)), default=0.0)
    return label != other_label, difference if difference == difference else 0.0
