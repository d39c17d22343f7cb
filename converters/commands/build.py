"""``edge-convert build``: from a trained model to a bundle."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from converters.commands.conversion import add_samples, add_search, add_source, add_telling, asked, recipe
from converters.commands.exits import EXIT_OK, EXIT_REFUSED
from converters.commands.progress import teller

_ABOUT = (
    "Converts MODEL for a board, proves the result in the runtime that will run it, judges it on real samples against the original, and "
    "writes one bundle and a report beside it. Exit status: 0 written, 1 failed, 2 wrong input, 3 refused by the gate."
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("build", help="convert, prove, gate and pack a model", description=_ABOUT)
    add_source(parser)
    add_samples(parser)
    add_search(parser)
    group = parser.add_argument_group("the bundle")
    group.add_argument("--name", required=True, help="name of the model on the devices")
    group.add_argument("--version", required=True, help="version of the model")
    group.add_argument("-o", "--output", type=Path, required=True, metavar="F.edgemodel")
    group.add_argument("--report", type=Path, metavar="F.html", help="write the report here too, also when the gate refuses")
    group.add_argument(
        "--no-search", dest="search", action="store_false", help="one straight conversion: the board's first scheme, judged, but not timed"
    )
    add_telling(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from converters.isolate import JobServer

    with JobServer() as server:  # first of all: its imports go on beside ours
        from converters.convert import convert
        from converters.show import built, refused

        source, told = asked(options), teller(options)
        outcome = convert(
            source, options.samples, recipe(options), options.output, told, jobs=options.jobs, server=server, report=options.report
        )
    if options.json:
        print(json.dumps({**outcome.tree, "refused": list(outcome.reasons)}, indent=2, sort_keys=True))
    elif outcome.written:
        print(built(outcome))
    if outcome.written is None:
        print(f"edge-convert: {refused(outcome)}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_OK
