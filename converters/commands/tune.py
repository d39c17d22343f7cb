"""``edge-convert tune``: the search of a build without its bundle."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from converters.commands.conversion import add_samples, add_search, add_source, add_telling, asked, recipe
from converters.commands.exits import EXIT_OK, EXIT_REFUSED
from converters.commands.progress import teller

_ABOUT = (
    "Tries what a build would try and says what came of it: every candidate's size, answers and speed, which of them no other beats, and "
    "which a build would pack. Exit status: 0 a build would write a bundle, 3 it would refuse, 1 failed, 2 wrong input."
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("tune", help="search only: what a build would choose, and from what", description=_ABOUT)
    add_source(parser)
    add_samples(parser)
    add_search(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="F.html", help="also write the report: a page, JSON and a picture of the front"
    )
    add_telling(parser)
    parser.set_defaults(command=run, name="tuned", version="0", search=True)


def run(options: argparse.Namespace) -> int:
    from converters.isolate import JobServer

    with JobServer() as server:
        from converters.convert import tune
        from converters.show import candidates

        source, told = asked(options), teller(options)
        tree = tune(source, options.samples, recipe(options), options.output, told, jobs=options.jobs, server=server)
    print(json.dumps(tree, indent=2, sort_keys=True) if options.json else candidates(tree))
    if options.output is not None and not options.json:
        print(f"report in {options.output}, as JSON and as a picture beside it")
    return EXIT_OK if tree["chosen"] else EXIT_REFUSED
