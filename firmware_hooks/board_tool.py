"""Asking a vendor's command-line tool, with bounded time and output."""

from __future__ import annotations

import os
import shutil

from firmware_hooks.bounded_run import run_bounded

_MAX_BYTES = 4096


def ask_tool(name: str, *arguments: str, search_path: str | None = None, timeout_s: float = 2.0) -> str | None:
    """What ``name`` prints; None when it is not on ``search_path`` (default: PATH), fails, or takes longer than ``timeout_s``."""
    program = shutil.which(name, path=search_path)
    if program is None:
        return None
    try:
        ran = run_bounded([program, *arguments], os.environ, timeout_s=timeout_s, max_output_bytes=_MAX_BYTES, with_stderr=False)
    except OSError:
        return None
    return ran.output if ran.code == 0 and not ran.timed_out else None
