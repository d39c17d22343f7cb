"""``edge-convert``: build, inspect, profiles."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from device_profiles.load import load_profile, names
from device_profiles.schema import ProfileError
from edge_agent import __version__
from edge_agent.errors import BundleError, EdgeError

_EXTRA = ("numpy", "onnx", "onnxruntime", "ai_edge_litert", "flatbuffers")
EXIT_OK, EXIT_FAILED, EXIT_INPUT, EXIT_REFUSED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed on the way, 2 wrong input or usage, 3 refused by the gate."""
    options = _parser().parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        for word in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(word) is signal.SIG_DFL:  # not under nohup
                signal.signal(word, _interrupted)  # as Ctrl-C: children end, the temporary folder goes
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        status = command(options)
        sys.stdout.flush()  # here, where a reader that has gone can still be told from a failure
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (EdgeError, ProfileError, OSError) as error:
        return _fail(error)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(f"edge-convert: {error.name} is not installed: pip install 'edge-runtime[convert]'", file=sys.stderr)
        return EXIT_FAILED
    except MemoryError:
        print("edge-convert: not enough memory for this model and these samples", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("edge-convert: interrupted, nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED


def build(options: argparse.Namespace) -> int:
    from converters.convert import convert
    from converters.processing import Processing, read_processing
    from converters.recipe import Recipe
    from converters.show import built, refused

    recipe = Recipe(
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
        force=options.force,
        processing=read_processing(options.processing) if options.processing else Processing(),
    )
    tell = _quiet if options.quiet or options.json else _progress
    outcome = convert(options.model, options.samples, recipe, options.output, tell)
    if options.json:
        print(json.dumps({**outcome.tree, "refused": list(outcome.reasons)}, indent=2, sort_keys=True))
    elif outcome.written:
        print(built(outcome))
    if outcome.written is None:
        print(f"edge-convert: {refused(outcome)}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_OK


def inspect(options: argparse.Namespace) -> int:
    from converters.inspect import describe
    from converters.inspect import inspect as look

    manifest, tree = look(options.bundle)
    print(json.dumps(tree, indent=2, sort_keys=True) if options.json else describe(manifest, tree))
    return EXIT_OK


def profiles(options: argparse.Namespace) -> int:
    from converters.boards import as_json, describe_all, describe_one

    boards = [load_profile(name) for name in ([options.name] if options.name else names())]
    if options.json:
        print(json.dumps(as_json(boards[0]) if options.name else [as_json(board) for board in boards], indent=2, sort_keys=True))
    else:
        print(describe_one(boards[0]) if options.name else describe_all(boards))
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-convert", description="Makes bundles for devices out of trained models.")
    parser.add_argument("--version", action="version", version=f"edge-convert {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _build_options(commands.add_parser("build", help="convert, prove, gate and pack a model", description=_BUILD))

    look = commands.add_parser("inspect", help="say what is in a bundle, and check it")
    look.add_argument("bundle", type=Path, metavar="F.edgemodel")
    look.add_argument("--json", action="store_true", help="print JSON")
    look.set_defaults(command=inspect)

    boards = commands.add_parser("profiles", help="say what is known of boards")
    boards.add_argument("name", nargs="?", metavar="NAME", help="one board in full; all in short without")
    boards.add_argument("--json", action="store_true", help="print JSON")
    boards.set_defaults(command=profiles)
    return parser


_BUILD = (
    "Converts MODEL (.onnx, or .tflite as it is) for a board, proves the result in the runtime that will run it, judges it on real samples "
    "against the original, and writes one bundle. Exit status: 0 written, 1 failed, 2 wrong input, 3 refused by the gate."
)


def _build_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=build)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--profile", action="append", required=True, metavar="BOARD", help="board to build for; again for more boards")
    parser.add_argument(
        "--samples", type=Path, required=True, metavar="S.npz", help="real samples: arrays named as the inputs, optional labels"
    )
    parser.add_argument("--name", required=True, help="name of the model on the devices")
    parser.add_argument("--version", required=True, help="version of the model")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="F.edgemodel")
    parser.add_argument("--processing", type=Path, metavar="F.toml", help="preprocessing, postprocessing and labels")
    parser.add_argument(
        "--target", choices=("auto", "onnx", "tflite"), default="auto", help="model format (default: what fits the board best)"
    )
    parser.add_argument("--scheme", choices=("auto", "int8", "float32", "as-is"), default="auto", help="number format (default: likewise)")
    parser.add_argument("--max-drop", type=float, default=0.01, metavar="SHARE", help="accuracy that may be lost (default 0.01, one point)")
    parser.add_argument("--min-sqnr", type=float, default=25.0, metavar="DB", help="for models that do not classify (default 25)")
    parser.add_argument("--calibration", type=int, default=200, metavar="N", help="most samples to calibrate on (default 200)")
    parser.add_argument("--evaluation", type=int, default=2000, metavar="N", help="most samples to judge on (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="draws the samples where the file does not say which (default 0)")
    parser.add_argument("--force", action="store_true", help="let a model out that is larger or slower than its source (never a wrong one)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def _progress(text: str) -> None:
    print(f"edge-convert: {text}", file=sys.stderr, flush=True)


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _quiet(text: str) -> None:
    pass


def _fail(error: Exception) -> int:
    print(f"edge-convert: {error}", file=sys.stderr)
    if isinstance(error, ProfileError):
        return EXIT_INPUT
    if isinstance(error, EdgeError):
        from converters.errors import InputError

        return EXIT_INPUT if isinstance(error, (InputError, BundleError)) else EXIT_FAILED
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
