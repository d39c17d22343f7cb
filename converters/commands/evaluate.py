"""``edge-convert evaluate``: one bundle or model on real samples."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from converters.commands.exits import EXIT_OK
from converters.commands.looking import add_looking, declared, numbers


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("evaluate", help="run a bundle or model on samples and say how good it is")
    parser.add_argument("model", type=Path, metavar="F", help="a bundle, .onnx or .tflite")
    add_looking(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from converters.isolate import JobServer

    with JobServer() as server, tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        from converters.judged import judged, told
        from converters.side_by_side import time_apart
        from converters.subject import read_subject, run_subject

        subject = read_subject(options.model, declared(options))
        answers = run_subject(subject, options.samples, Path(folder) / "model", server, **numbers(options))
        tree = judged(answers, time_apart(answers, Path(folder) / "model", server))
    print(json.dumps(tree, indent=2, sort_keys=True) if options.json else told(tree))
    return EXIT_OK
