"""The trial of options as a process of its own, seen from who starts it. Imports no runtime: the control process may use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from edge_agent.bench_subject import Subject
from edge_agent.errors import ModelError
from edge_agent.runtimes.environment import STARTED_WITH
from edge_agent.runtimes.options import options_to_json
from edge_agent.runtimes.tune import Choice, choice_in

TIMEOUT_S = 120.0
"""Of the clock, not of the processor: at idle priority on a busy board three seconds' work may take long."""


def tune_apart(subject: Subject, kind: str, *, rate_hz: float, digest: str, folder: Path | None, timeout_s: float = TIMEOUT_S) -> Choice:
    """The options that ``subject``, a model of ``kind`` (onnx, tflite), runs best with, starting from the options it has.

    ``digest`` (of the bundle) and ``folder`` let the answer be kept and found again. Raises ModelError when the model does not run, or the
    trial does not end.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent.tuning"],
            input=order(subject, kind, rate_hz, digest, folder),
            capture_output=True,
            timeout=timeout_s,
            env={**os.environ, **STARTED_WITH},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"{subject.label}: its options could not be tried within {timeout_s:.0f} s") from None
    return answer(subject.label, done.stdout, done.stderr)


def order(subject: Subject, kind: str, rate_hz: float, digest: str, folder: Path | None) -> bytes:
    """What ``python -m edge_agent.tuning`` wants on its standard input."""
    said = {**asdict(subject), "options": options_to_json(subject.options)}
    return json.dumps(
        {"subject": said, "kind": kind, "rate_hz": rate_hz, "digest": digest, "folder": "" if folder is None else str(folder)}
    ).encode()


def answer(label: str, stdout: bytes, stderr: bytes) -> Choice:
    """What it said. Raises ModelError with its reason, or its last words."""
    try:
        tree = json.loads(stdout.splitlines()[-1])
        if "error" not in tree:
            return choice_in(tree)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{label}: its options could not be tried: {stderr.decode(errors='replace').strip()[-300:]}") from None
    raise ModelError(str(tree["error"]))
