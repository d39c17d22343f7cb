"""``edge-convert profiles``: what is known of boards."""

from __future__ import annotations

import argparse
import json

from converters.commands.exits import EXIT_OK


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("profiles", help="say what is known of boards")
    parser.add_argument("name", nargs="?", metavar="NAME", help="one board in full; all in short without")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    from converters.boards import as_json, describe_all, describe_one
    from device_profiles.load import load_profile, names

    boards = [load_profile(name) for name in ([options.name] if options.name else names())]
    if options.json:
        print(json.dumps(as_json(boards[0]) if options.name else [as_json(board) for board in boards], indent=2, sort_keys=True))
    else:
        print(describe_one(boards[0]) if options.name else describe_all(boards))
    return EXIT_OK
