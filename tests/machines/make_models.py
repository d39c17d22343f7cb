"""Models and bundles for the machine checks: ``make_models.py FOLDER [--digits]``.

Writes models/*.onnx and models/*.tflite (float and int8; the probe runs them all), box_*.edgemodel and box.csv (a model and samples for
an agent). With ``--digits`` also digits_onnx and digits_tflite, int8, made by the project's converter.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from models import CHANNELS, tiny_bundle, tiny_onnx, tiny_tflite  # noqa: E402

DIGITS = ROOT / "examples" / "digits"


def main(folder: Path) -> None:
    """Everything into ``folder``."""
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    tiny_onnx(models / "tiny.onnx")
    tiny_tflite(models / "tiny.tflite")
    tiny_tflite(models / "tiny_int8.tflite", int8=True)
    (models / "digits.onnx").write_bytes((DIGITS / "digits_v1.onnx").read_bytes())
    for runtime in ("onnx", "tflite"):
        tiny_bundle(folder / f"box_{runtime}.edgemodel", name="box", version="1.0.0", runtime=runtime, int8=runtime == "tflite")
    samples = np.random.default_rng(5).uniform(-3, 3, (500, CHANNELS))
    np.savetxt(folder / "box.csv", samples, delimiter=",", fmt="%.6f")


def convert_digits(folder: Path) -> None:
    """int8 bundles of the digits for every board of the machine checks, and the models in them beside the others."""
    for target, boards in (("onnx", ("generic-aarch64", "rpi4")), ("tflite", ("generic-aarch64", "rpi4", "generic-armv7"))):
        bundle = folder / f"digits_{target}.edgemodel"
        command = [sys.executable, "-m", "converters", "build", str(DIGITS / "digits_v1.onnx"), "--target", target, "--scheme", "int8"]
        command += [word for board in boards for word in ("--profile", board)]
        command += ["--samples", str(DIGITS / "samples.npz"), "--processing", str(DIGITS / "processing.toml"), "--name", f"digits-{target}"]
        # --force: a machine with vector units for float may run the float original faster.
        command += ["--version", "1.0.0", "--evaluation", "200", "--force", "--unproven", "--quiet", "-o", str(bundle)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=120)
        with zipfile.ZipFile(bundle) as archive:
            name = next(n for n in archive.namelist() if Path(n).suffix == f".{target}")
            (folder / "models" / f"digits_int8.{target}").write_bytes(archive.read(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    if "--digits" in sys.argv[2:]:
        convert_digits(Path(sys.argv[1]))
