"""What pip would install for every extra, with the newest and with the oldest versions that setup.cfg allows, by Python and machine.

Wheels only, and nothing is installed but ``uv`` itself, in an environment of its own: it knows how to ask for the oldest.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("onnx", "tflite", "convert", "fleet")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# onnxruntime has no wheels for an older C library.
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
AGES = {"newest": "highest", "oldest": "lowest-direct"}
SHOWN = ("numpy", "onnx", "onnxruntime", "ai-edge-litert")


def measure() -> dict[str, object]:
    """For each extra, age, Python and platform the versions by distribution, or the resolver's reason under ``error``."""
    with tempfile.TemporaryDirectory(prefix="edge-resolves-") as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "venv", folder / "uv"], check=True)
        subprocess.run([folder / "uv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "uv"], check=True)
        cases = [(extra, age, python, platform) for extra in EXTRAS for age in AGES for python in PYTHONS for platform in PLATFORMS]
        with ThreadPoolExecutor(4) as pool:  # they wait for the network
            found = pool.map(lambda case: _resolved(folder, *case), cases)
            return {" ".join(case).partition("-")[0]: result for case, result in zip(cases, found, strict=True)}


def lines(figures: dict[str, Any]) -> list[str]:
    failed = [f"  {name}: {found['error']}" for name, found in figures.items() if "error" in found]
    shown = [
        f"  {name:30}{len(found) + 1:3} distributions: " + ", ".join(f"{library} {found[library]}" for library in SHOWN if library in found)
        for name, found in figures.items()
        if name.startswith("convert") and "error" not in found
    ]
    return [f"  {len(figures) - len(failed)} of {len(figures)} resolve ({', '.join(EXTRAS)}); the converter's:", *shown, *failed]


def requirements(extra: str) -> str:
    """What ``edge-runtime[extra]`` asks for, one requirement a line, markers included."""
    config = configparser.RawConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["options"]["install_requires"] + "\n" + config["options.extras_require"][extra] + "\n"


def _resolved(folder: Path, extra: str, age: str, python: str, platform: str) -> dict[str, str]:
    words = ["--python-version", python, "--python-platform", platform, "--resolution", AGES[age], "--only-binary", ":all:"]
    quiet = ["--quiet", "--no-header", "--no-annotate"]
    environment = {**os.environ, "UV_CACHE_DIR": str(folder / "cache")}
    if "PIP_CERT" in os.environ:  # where pip needs it, so does uv
        environment["SSL_CERT_FILE"] = os.environ["PIP_CERT"]
    command = [str(folder / "uv/bin/uv"), "pip", "compile", *quiet, *words, "-"]
    done = subprocess.run(command, input=requirements(extra), capture_output=True, text=True, check=False, env=environment, timeout=300)
    if done.returncode:
        return {"error": " ".join(done.stderr.split())[:300]}
    pins = [line.split(" ")[0].partition("==") for line in done.stdout.splitlines() if "==" in line]
    return {name: version for name, _, version in pins}
