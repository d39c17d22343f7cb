"""What is measured: one model file, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.runtimes.options import RuntimeOptions


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing to measure: a model file and how it is run. ``manifest`` (JSON) and ``folder`` are a bundle's, empty for a bare file."""

    label: str
    path: str
    file_bytes: int
    options: RuntimeOptions
    manifest: str = ""
    folder: str = ""
