"""Options that shape a conversion, shared by ``build`` and ``tune``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from converters.words import CALIBRATORS, PLACES, SCHEMES, TARGETS

if TYPE_CHECKING:
    from converters.recipe import Recipe
    from converters.translate import Asked


def add_source(parser: argparse.ArgumentParser) -> None:
    """Which model, and what has to be said of it."""
    group = parser.add_argument_group("the model")
    group.add_argument(
        "model",
        metavar="MODEL",
        help=".onnx, .tflite, .keras, .h5, SavedModel folder, .pt2, .pt, .pmml, .joblib, .skops, MLflow folder or URI, module:function",
    )
    group.add_argument("--trust", action="store_true", help="open files that run code when they are opened (pickle, scripted layers)")
    group.add_argument("--input", action="append", default=[], metavar="NAME:DTYPE[SIZES]", help="an input the file does not declare")
    group.add_argument("--weights", type=Path, metavar="F.pth", help="weights, where MODEL is module:function")
    group.add_argument(
        "--shape", action="append", default=[], metavar="NAME=1,3,224,224", help="sizes of an input that the file leaves free"
    )
    group.add_argument("--make-tools", action="store_true", help="make a tool environment that is missing (downloads packages by pip)")


def add_samples(parser: argparse.ArgumentParser) -> None:
    """Real samples and what surrounds the model."""
    group = parser.add_argument_group("samples")
    group.add_argument(
        "--samples",
        type=Path,
        required=True,
        metavar="S",
        help=".npz (arrays named as the inputs), .csv, folder of images or WAVs",
    )
    group.add_argument("--processing", type=Path, metavar="F.toml", help="preprocessing, postprocessing and labels")
    group.add_argument("--calibration", type=int, default=200, metavar="N", help="most samples to calibrate on (default 200)")
    group.add_argument("--evaluation", type=int, default=2000, metavar="N", help="most samples to judge on (default 2000)")
    group.add_argument("--seed", type=int, default=0, help="draws the samples where the file does not say which (default 0)")


def add_search(parser: argparse.ArgumentParser) -> None:
    """What is tried, and what is let out."""
    group = parser.add_argument_group("search and gate")
    group.add_argument("--profile", action="append", required=True, metavar="BOARD", help="board to build for; again for more boards")
    group.add_argument("--target", choices=TARGETS, default="auto", help="model format (default: what fits the board best)")
    group.add_argument("--scheme", choices=SCHEMES, default="auto", help="number format (default: likewise)")
    group.add_argument(
        "--pack-weights",
        choices=PLACES,
        default="auto",
        help="in ONNX models: inside the file, or beside it, where a device can map them (default: beside from 1 MiB on)",
    )
    group.add_argument("--prune", action="store_true", help="also try networks with channels taken out (needs no labels)")
    group.add_argument(
        "--distil", action="store_true", help="also train the pruned networks to answer as the model does (tool environment pytorch)"
    )
    group.add_argument("--temperature", type=float, default=4.0, metavar="T", help="softness of the teacher's scores (default 4)")
    group.add_argument("--label-weight", type=float, default=0.0, metavar="SHARE", help="share of the labels in distilling (default 0)")
    group.add_argument("--calibrator", choices=CALIBRATORS, default="minmax", help="how ranges are found (default minmax)")
    group.add_argument("--max-drop", type=float, default=0.01, metavar="SHARE", help="accuracy that may be lost (default 0.01, one point)")
    group.add_argument("--min-sqnr", type=float, default=25.0, metavar="DB", help="for models that do not classify (default 25)")
    group.add_argument("--strict", action="store_true", help="ask for proof: the 95 %% interval of the loss must lie within --max-drop")
    group.add_argument("--force", action="store_true", help="let a model out that is larger or slower than its source (never a wrong one)")
    group.add_argument("--unproven", action="store_true", help="go without the proof in runtime versions that are not at hand here")
    group.add_argument("--jobs", type=_at_once, default=0, metavar="N", help="proofs at once (default: one for each processor)")


def add_telling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def _at_once(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 (one for each processor) or more")
    return count


def recipe(options: argparse.Namespace) -> Recipe:
    """What the options say. Raises :class:`~converters.errors.InputError` naming the option."""
    from converters.processing import Processing, read_processing
    from converters.recipe import Recipe, shapes_said

    return Recipe(
        name=options.name,
        version=options.version,
        profiles=tuple(options.profile),
        target=options.target,
        scheme=options.scheme,
        max_drop=options.max_drop,
        min_sqnr_db=options.min_sqnr,
        seed=options.seed,
        calibration=options.calibration,
        evaluation=options.evaluation,
        calibrator=options.calibrator,
        prune=options.prune,
        distil=options.distil,
        temperature=options.temperature,
        label_weight=options.label_weight,
        search=options.search,
        strict=options.strict,
        force=options.force,
        unproven=options.unproven,
        weights=options.pack_weights,
        shapes=shapes_said(options.shape),
        processing=read_processing(options.processing) if options.processing else Processing(),
    )


def asked(options: argparse.Namespace) -> Asked:
    """The model and what was said of it."""
    from converters.translate import Asked

    files = tuple(path for path in (options.processing, options.weights) if path is not None)
    return Asked(options.model, options.trust, tuple(options.input), options.weights, options.samples, options.make_tools, files)
