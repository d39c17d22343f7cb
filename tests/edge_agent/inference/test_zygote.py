"""The zygote before it forks anything: one thread, no telemetry, and the truth told when a library brought threads along."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_agent.inference.wire import Channel, pair
from edge_agent.runtimes.environment import STARTED_WITH


def first_word(runtimes: str, *, extra: Mapping[str, str] = {}, before: str = "") -> dict[str, Any]:
    """What a zygote with these runtimes says when it stands; ``before`` is run in its process first."""
    ours, theirs = pair()
    arguments = ["--fd", str(theirs.fileno()), "--runtimes", runtimes]
    code = f"import sys\n{before}\nfrom edge_agent.zygote import main\nsys.exit(main({arguments}))"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[3]), **STARTED_WITH, **extra}
    child = subprocess.Popen([sys.executable, "-c", code], pass_fds=(theirs.fileno(),), env=environment)
    theirs.close()
    try:
        return dict(_word(ours))
    finally:
        ours.close()
        child.wait(20)


def _word(channel: Channel) -> Mapping[str, Any]:
    packet = channel.wait(60.0)
    assert packet is not None
    return packet.message


@pytest.mark.parametrize("runtimes", ["onnx", "tflite", "onnx,tflite"])
def test_it_has_one_thread_with_every_runtime_imported_and_used(runtimes: str) -> None:
    assert first_word(runtimes) == {"event": "ready", "fork": True, "threads": 1}


def test_with_a_second_thread_it_says_that_it_will_not_fork() -> None:
    thread = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    assert first_word("onnx", before=thread) == {"event": "ready", "fork": False, "threads": 2}


def test_an_import_starts_no_thread_whatever_environment_it_was_started_in() -> None:
    """The runtimes set what they need themselves, so that any program that imports them is as quiet as the agent."""
    code = """
import os
for key in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.pop(key, None)
from edge_agent.runtimes.choose import preimport
preimport(("onnx", "tflite"))
print(len(os.listdir("/proc/self/task")), os.environ["ORT_DISABLE_TELEMETRY"], os.environ["ORT_TELEMETRY_DISABLED"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "1"]
