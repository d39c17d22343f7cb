"""``edge-convert compare``: two bundles or models on the same real samples."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from converters.commands.exits import EXIT_OK
from converters.commands.looking import add_looking, declared, numbers


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("compare", help="run two bundles or models on the same samples and say what differs")
    parser.add_argument("first", type=Path, metavar="A", help="the reference: a bundle, .onnx or .tflite")
    parser.add_argument("second", type=Path, metavar="B", help="what is held against it")
    add_looking(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from converters.isolate import JobServer

    with JobServer() as server, tempfile.TemporaryDirectory(prefix="edge-convert-") as name:
        from converters.compared import compared, told
        from converters.side_by_side import time_in_turn
        from converters.subject import read_subject, run_subject

        folder, said = Path(name), declared(options)
        subjects = [read_subject(path, said) for path in (options.first, options.second)]
        first, second = (
            run_subject(subject, options.samples, folder / str(at), server, **numbers(options)) for at, subject in enumerate(subjects)
        )
        latencies, speed = time_in_turn(first, second, folder, server)
        tree = compared(first, second, latencies, speed)
    print(json.dumps(tree, indent=2, sort_keys=True) if options.json else told(tree))
    return EXIT_OK
