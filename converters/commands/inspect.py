"""``edge-convert inspect``: what is in a bundle."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from converters.commands.exits import EXIT_OK


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("inspect", help="say what is in a bundle, and check it")
    parser.add_argument("bundle", type=Path, metavar="F.edgemodel")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from converters.inspect import describe, inspect

    manifest, tree = inspect(options.bundle)
    print(json.dumps(tree, indent=2, sort_keys=True) if options.json else describe(manifest, tree))
    return EXIT_OK
