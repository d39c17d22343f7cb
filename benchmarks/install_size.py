"""Size on disk of what each extra installs: a fresh virtual environment each, without pip itself.

Both with the bytecode that pip compiles (about a tenth more) and without, as ``pip install --no-compile`` leaves it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

EXTRAS = ("", "onnx", "tflite", "onnx,serial", "convert", "fleet")
ROOT = Path(__file__).resolve().parent.parent


def install_size() -> dict[str, object]:
    """MB (10^6 bytes) with and without bytecode, and number of distributions, by extra."""
    return {"extras": {extra or "(none)": _measure(extra) for extra in EXTRAS}}


def _measure(extra: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="edge-size-") as name:
        venv = Path(name)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        wanted = f"{ROOT}[{extra}]" if extra else str(ROOT)
        subprocess.run([venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", wanted], check=True)
        site = next(venv.glob("lib/python*/site-packages"))
        tools = ("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack")
        parts = [p for p in site.iterdir() if not p.name.startswith(tools)]
        files = [f for p in parts for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file() and not f.is_symlink()]
        return {
            "mb": _megabytes(files),
            "mb_without_bytecode": _megabytes([f for f in files if f.suffix != ".pyc"]),
            "distributions": sum(p.name.endswith(".dist-info") for p in parts),
        }


def _megabytes(files: list[Path]) -> float:
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)


def lines(figures: dict[str, object]) -> list[str]:
    extras = figures["extras"]
    assert isinstance(extras, dict)
    return [
        f"  edge-runtime[{extra}]".ljust(32)
        + f"{e['mb']:7.1f} MB, {e['mb_without_bytecode']:.1f} without bytecode, {e['distributions']} distributions"
        for extra, e in extras.items()
    ]
