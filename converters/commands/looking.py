"""Options of the commands that look at models without making any."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters.processing import Processing


def add_looking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", type=Path, required=True, metavar="S", help="real samples, as for build")
    parser.add_argument(
        "--processing", type=Path, metavar="F.toml", help="preprocessing, postprocessing and labels (default: the bundle's own)"
    )
    parser.add_argument("--calibration", type=int, default=200, metavar="N", help="samples that a build would calibrate on: left out")
    parser.add_argument("--evaluation", type=int, default=2000, metavar="N", help="most samples to judge on (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="draws the samples where the file does not say which (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def declared(options: argparse.Namespace) -> Processing | None:
    """What the user says of the model's surroundings; ``None`` when nothing was said."""
    from converters.processing import read_processing

    return read_processing(options.processing) if options.processing else None


def numbers(options: argparse.Namespace) -> dict[str, int]:
    return {"calibration": options.calibration, "evaluation": options.evaluation, "seed": options.seed}
