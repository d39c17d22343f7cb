"""Running an operator's lifecycle scripts: bounded in time and output, in a process group of their own, never through a shell.

For an event such as ``pre-install`` the executable ``<hooks_dir>/pre-install`` runs first, then every executable in
``<hooks_dir>/pre-install.d/`` in the order of their names. The first that fails ends the event.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware_hooks.bounded_run import run_bounded

_EVENT = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_CLEAN_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class HookResult:
    """What came of an event's scripts. ``skipped``: there was none. ``code``: exit status of the last one that ran, negative for a
    signal, None when it could not be run. ``output``: the end of what they printed, and the reason of a refusal."""

    ok: bool
    skipped: bool
    code: int | None
    output: str
    timed_out: bool


def run_hook(
    hooks_dir: Path | None, event: str, env: Mapping[str, str], *, timeout_s: float = 30, max_output_bytes: int = 10240
) -> HookResult:
    """Run the scripts of ``event``; each may take ``timeout_s``. ``env`` is all they see besides PATH, LANG and EDGE_EVENT.

    Raises ValueError for an event that is no lower-case word with dashes, or a variable that does not begin with EDGE_.
    Everything that can go wrong on the device is in the result.
    """
    if not _EVENT.fullmatch(event):
        raise ValueError(f"{event!r} is not a hook event")
    for name in env:
        if not name.startswith("EDGE_") or "=" in name:
            raise ValueError(f"{name!r} is not a name for a hook's variable: they begin with EDGE_")
    if hooks_dir is None:
        return HookResult(ok=True, skipped=True, code=None, output="", timed_out=False)
    try:
        scripts = list(_scripts(hooks_dir, event))
    except PermissionError as error:
        return HookResult(ok=False, skipped=False, code=None, output=str(error), timed_out=False)
    environment = {**_CLEAN_ENVIRONMENT, **{k: v.replace("\0", "") for k, v in env.items()}, "EDGE_EVENT": event}
    result = HookResult(ok=True, skipped=True, code=None, output="", timed_out=False)
    for script in scripts:
        ran = _run(script, environment, timeout_s, max_output_bytes)
        output = (result.output + ran.output)[-max_output_bytes:]
        result = HookResult(ran.ok, False, ran.code, output, ran.timed_out)
        if not ran.ok:
            break
    return result


def _scripts(hooks_dir: Path, event: str) -> Iterator[Path]:
    """The event's executables in order. Raises PermissionError, with the reason, for one that others could have written."""
    single, folder = hooks_dir / event, hooks_dir / f"{event}.d"
    found = [single] if single.is_file() else []
    if folder.is_dir():
        found += sorted(p for p in folder.iterdir() if not p.name.startswith(".") and not p.name.endswith("~") and p.is_file())
    for script in found:
        if os.access(script, os.X_OK):
            for path in {hooks_dir, script.parent, script}:
                _refuse_if_not_ours(path)
            yield script


def _refuse_if_not_ours(path: Path) -> None:
    """Only root and the agent itself may have put a script here: what runs with the agent's rights must not come from others."""
    info = path.stat()
    if info.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{path}: refused, it belongs to user {info.st_uid}; chown it to root")
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path}: refused, others may write to it (mode {stat.S_IMODE(info.st_mode):04o}); chmod go-w it")


def _run(script: Path, environment: Mapping[str, str], timeout_s: float, max_output_bytes: int) -> HookResult:
    try:
        ran = run_bounded([str(script)], environment, timeout_s=timeout_s, max_output_bytes=max_output_bytes)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return HookResult(ok=False, skipped=False, code=None, output=f"{script}: cannot be run ({reason})\n", timed_out=False)
    output = ran.output + (f"{script}: killed after {timeout_s:g} s\n" if ran.timed_out else "")
    return HookResult(ran.code == 0 and not ran.timed_out, False, ran.code, output, ran.timed_out)
