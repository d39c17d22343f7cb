"""``edge-fleet``: sign and serve models, and say which device gets which."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from edge_agent import __version__
from edge_agent.errors import EdgeError
from fleet_controller import broker, cli_devices, cli_repository
from fleet_controller.errors import UsageError
from fleet_controller.table import clean

_EXTRA = ("tuf", "securesystemslib", "cryptography", "urllib3")
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def build_parser() -> argparse.ArgumentParser:
    """The command line, whole."""
    parser = argparse.ArgumentParser(prog="edge-fleet", description="Signs and serves models, and says which device gets which.")
    parser.add_argument("--version", action="version", version=f"edge-fleet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    cli_repository.add_parsers(commands)
    text = "run an embedded MQTT broker, to try things out"
    broker.add_arguments(commands.add_parser("broker", help=text, description=text[0].upper() + text[1:] + "."))
    cli_devices.add_parsers(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 fine, 1 failed, refused or silent on any device, 2 bad usage."""
    args = build_parser().parse_args(argv)
    try:
        status = _dispatch(args)
        sys.stdout.flush()  # here, where a reader that has gone can still be told from a failure
        return status
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        return _complain(f"{error.name} is not installed: pip install 'edge-runtime[fleet]'", EXIT_FAILED)
    except UsageError as error:
        return _complain(error, EXIT_USAGE)
    except EdgeError as error:
        return _complain(error, EXIT_FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _dispatch(args: argparse.Namespace) -> int:
    if args.command == "broker":
        broker.run_broker(args.host, args.port, lambda: print("ready", flush=True))
        return 0
    if args.command in cli_repository.COMMANDS:
        return cli_repository.COMMANDS[args.command](args)
    return cli_devices.COMMANDS[args.command](args)


def _complain(error: Exception | str, status: int) -> int:
    print(f"edge-fleet: {clean(str(error))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
