"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("edge_agent", "converters", "device_profiles", "firmware_hooks", "fleet_controller")
SOURCES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_layers_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--config", "setup.cfg", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_says_what_it_is_and_has_a_telling_name(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    assert path.stem not in VAGUE


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_code_is_evaluated_or_unpickled(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}, f"line {node.lineno}"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {a.name for a in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "marshal", "shelve"}, f"line {node.lineno}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "edge_agent")], ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_clock_reads_the_time_of_day(path: Path) -> None:
    if path.name == "clock.py":
        return
    assert not re.search(r"\btime\.time(_ns)?\(|datetime\.(now|utcnow)\(", path.read_text())


def test_nothing_is_pinned() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = config["options"]["install_requires"] + "".join(config["options.extras_require"].values())
    assert not re.search(r"(?<![<>=!])==(?!=)", re.sub(r";.*", "", wanted))


def test_the_command_line_client_loads_neither_numpy_nor_a_runtime() -> None:
    code = (
        "import sys, contextlib, edge_agent.__main__ as m\n"
        "with contextlib.suppress(SystemExit): m.main(['status', '--socket', '/nonexistent/agent.sock'])\n"
        "print([n for n in ('numpy', 'onnxruntime', 'asyncio', 'tuf', 'cryptography') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_assembling_an_agent_loads_neither_numpy_nor_cryptography() -> None:
    code = (
        "import sys, edge_agent.assemble\n"
        "print([n for n in ('numpy', 'onnxruntime', 'ai_edge_litert', 'asyncio', 'tuf', 'cryptography') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
