"""Run native code on somebody's model in a process of its own, so that its crash is an answer and not our end.

A job is a folder: ``job.json`` says what to do, the child leaves ``result.json`` and arrays beside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.errors import Died, InputError, PassError
from edge_agent.errors import EdgeError, ModelError, RuntimeMissing

TIMEOUT_S = 600.0
KINDS: Mapping[str, type[EdgeError]] = {kind.__name__: kind for kind in (InputError, PassError, ModelError, RuntimeMissing)}


def run_job(folder: Path, job: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """What the child answered. Errors it met are raised here; its crash or hang is a :class:`ModelError` with the signal or the time."""
    (folder / "job.json").write_text(json.dumps(job))
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    # -P and -I would hide a package that is run from its checkout; the folder of this package is put first instead.
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "converters.job", str(folder)], env=environment, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Died(f"{job['what']}: no answer after {timeout_s:.0f} s") from None
    if done.returncode < 0:
        raise Died(f"{job['what']}: the runtime crashed ({signal.Signals(-done.returncode).name})")
    if not result.exists():
        raise Died(f"{job['what']}: failed ({_last_line(done.stderr)})")
    answer: dict[str, Any] = json.loads(result.read_text())
    if "error" in answer:
        raise KINDS.get(answer["kind"], ModelError)(answer["error"])
    return answer


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
