from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

import edge_agent
from benchmarks.tiny_model import make_bundle
from edge_agent.bundle.manifest import to_json

ROOT = Path(edge_agent.__file__).parent.parent
PROGRAM = """
import sys
from pathlib import Path
from types import SimpleNamespace

from edge_agent.bundle.manifest_reader import from_json
from edge_agent.clock import SystemClock
from edge_agent.config import EngineConfig
from edge_agent.inference.engine import Engine

folder = Path(sys.argv[1])
manifest = from_json((folder / "manifest.json").read_bytes())
store = SimpleNamespace(active=lambda model: "d", manifest=lambda digest: manifest, folder=lambda digest: folder)
engine = Engine(store=store, clock=SystemClock(), report=lambda event: None, config=EngineConfig(), runtimes=("onnx",),
                publish=lambda *message: None, on_crash_loop=lambda *which: None)
engine.start()
engine.serve("tiny")
report = engine.try_candidate("tiny", "e", manifest, folder)
assert report.passed, report
engine.switch("tiny", "e")
print(*[name for name in ("numpy", "onnxruntime", "asyncio", "ctypes", "cryptography", "tuf") if name in sys.modules])
print(Path("/proc/self/maps").read_text().count("numpy"))
if sys.argv[2] == "stay":
    print(*[pid for _, pid in engine.processes()], flush=True)
    sys.stdin.read()
engine.stop()
"""


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    bundle = make_bundle(tmp_path)
    (tmp_path / "manifest.json").write_bytes(to_json(bundle.manifest))
    return tmp_path


def test_a_process_that_runs_the_engine_has_no_numpy_in_it(bundle_folder: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(bundle_folder), "leave"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["", "0"]


def test_nothing_outlives_a_control_process_that_is_killed(bundle_folder: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(bundle_folder), "stay"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        pids = [process.stdout.readline() for _ in range(3)][-1].split()
        assert len(pids) == 2
        process.kill()
        process.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
