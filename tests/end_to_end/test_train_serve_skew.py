"""What a device answers is what the converter judged: the same windows, the same steps, the same model, sample by sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from end_to_end.household import Household, tool
from waiting import wait_for

from converters.decide import decisions
from converters.processing import read_processing
from converters.workshop import Workshop
from edge_agent.bundle.archive import read_bundle

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
PROCESSING = DIGITS / "processing.toml"
ROWS = tuple(range(500, 900))
"""Test images of the example, none of them used for calibration."""


@pytest.mark.parametrize(("target", "scheme"), [("tflite", "int8"), ("onnx", "int8")])
def test_every_label_of_a_replay_pipeline_is_the_one_of_the_converters_evaluation(
    household: Household, tmp_path: Path, target: str, scheme: str
) -> None:
    bundle = tmp_path / "digits.edgemodel"
    build = ["build", DIGITS / "digits_v1.onnx", "--samples", DIGITS / "samples.npz", "--processing", PROCESSING, "--force"]
    tool("edge-convert", *build, "--profile", "generic-x86-64", "--target", target, "--scheme", scheme, "--name", "tiny",
         "--version", "1", "-o", bundle)  # fmt: skip
    judged = on_the_host(bundle, tmp_path)
    household.write_config(bundle=bundle, repository=False)
    with np.load(DIGITS / "samples.npz") as held:
        np.savez(household.folder / "x.npz", x=held["image"][list(ROWS)])
    household.config.write_text(household.config.read_text().replace("rate_hz = 50\nloop = true", "rate_hz = 400"))
    household.start_agent()
    wait_for(lambda: len(household.lines()) == len(ROWS), 60, f"all answers\n{household.log('agent')[-2000:]}")
    served = {int(line["first_seq"]): line["label"] for line in household.lines()}
    assert [served[seq] for seq in range(len(ROWS))] == judged
    assert len(set(judged)) == 10


def on_the_host(bundle: Path, folder: Path) -> list[str]:
    """The labels of the packed model by the converter's own evaluation."""
    manifest, files = read_bundle(bundle)
    processing = read_processing(PROCESSING)
    work = folder / "work"
    work.mkdir()
    workshop = Workshop(work, DIGITS / "samples.npz", processing.preprocess)
    proof = workshop.prove("bundle", files[manifest.model_file.path], manifest.runtime.name, ROWS)
    return decisions(proof, processing)
