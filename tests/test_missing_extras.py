"""Without the extras, commands say what to install; and a reader of their output may leave when it has read enough."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from models import tiny_bundle, tiny_onnx

ABSENT = """
import sys
from importlib import metadata
absent = {"numpy", "onnx", "onnxruntime", "ai_edge_litert", "ai-edge-litert", "tflite_runtime", "tflite-runtime", "onnxruntime-gpu",
          "tuf", "securesystemslib", "cryptography", "urllib3"}
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Finder())
version = metadata.version
def fake(name):
    if name in absent:
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = fake
from edge_agent.runtimes import distributions
version_of = distributions.version_of
def fake_version_of(name, folders=None):
    if name in absent:
        raise distributions.NotInstalled(name)
    return version_of(name, folders)
distributions.version_of = fake_version_of
"""


def bare(module: str, *words: str | Path) -> tuple[int, str]:
    """Status and complaint of a command on an installation without any extra."""
    code = f"{ABSENT}\nfrom {module}.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_converter_names_its_extra(tmp_path: Path) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")
    words = ("--profile", "rpi4", "--samples", "s.npz", "--name", "m", "--version", "1", "-o", tmp_path / "m.edgemodel")
    status, said = bare("converters", "build", model, *words)
    assert status == 1 and "pip install 'edge-runtime[convert]'" in said


def test_the_agent_names_the_extras_of_the_runtimes(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('[device]\nid = "d1"\nprofile = "rpi4"\nstate_dir = "state"\nruntime_dir = "run"\n')
    for word in ("check", "run"):
        status, said = bare("edge_agent", word, "--config", config)
        assert status == 2 and "pip install 'edge-runtime[onnx]'" in said


def test_an_agent_with_a_repository_names_the_extras_that_verify_updates(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    (tmp_path / "root.json").write_text("{}")
    updates = '[updates]\nrepository = "http://127.0.0.1:1"\ntrusted_root = "root.json"\n'
    config.write_text(f'[device]\nid = "d1"\nprofile = "rpi4"\nstate_dir = "state"\nruntime_dir = "run"\n{updates}')
    status, said = bare("edge_agent", "check", "--config", config)
    assert status == 2
    assert "updates.repository: verifying updates needs tuf, securesystemslib, cryptography: pip install 'edge-runtime[onnx]'" in said


def test_the_fleet_names_its_extra(tmp_path: Path) -> None:
    status, said = bare("fleet_controller", "init", tmp_path / "repo")
    assert status == 1 and "is not installed: pip install 'edge-runtime[fleet]'" in said
    assert not (tmp_path / "repo").exists()


def test_inspecting_a_bundle_needs_no_extra(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "m.edgemodel")
    assert bare("converters", "inspect", tmp_path / "m.edgemodel")[0] == 0


@pytest.mark.parametrize("command", ["converters profiles", "fleet_controller rollouts --state .", "edge_agent check --config nowhere"])
def test_a_reader_that_leaves_is_no_traceback(command: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", *command.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 1
