"""``edge-convert``: from a trained model to a proven bundle."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence

from converters.commands import build, compare, evaluate, inspect, profiles, tools, tune
from converters.commands.exits import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, Command
from converters.commands.streams import settle_streams
from device_profiles.schema import ProfileError
from edge_agent import __version__
from edge_agent.errors import BundleError, EdgeError

COMMANDS = (build, tune, evaluate, compare, inspect, profiles, tools)
_EXTRA = ("numpy", "onnx", "onnxruntime", "ai_edge_litert", "flatbuffers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed on the way, 2 wrong input or usage, 3 refused by the gate."""
    settle_streams()
    options = parser().parse_args(arguments)
    if threading.current_thread() is threading.main_thread():
        for word in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(word) is signal.SIG_DFL:  # not under nohup
                signal.signal(word, _interrupted)  # as Ctrl-C: children end, the temporary folder goes
    command: Command = options.command
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


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    made = argparse.ArgumentParser(prog="edge-convert", description="Makes bundles for devices out of trained models.")
    made.add_argument("--version", action="version", version=f"edge-convert {__version__}")
    commands = made.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for word in COMMANDS:
        word.add(commands)
    return made


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
        return f"no space left on device; what is worked on lies in {tempfile.gettempdir()}, TMPDIR names another folder"
    return str(error)


def _fail(error: Exception) -> int:
    print(f"edge-convert: {_said(error)}", file=sys.stderr)
    if isinstance(error, ProfileError):
        return EXIT_INPUT
    if isinstance(error, EdgeError):
        from converters.errors import InputError

        return EXIT_INPUT if isinstance(error, (InputError, BundleError)) else EXIT_FAILED
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
