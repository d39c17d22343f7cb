"""``edge-agent``: run the agent on a device, and talk to the one that runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_agent import __version__
from edge_agent.errors import AgentUnreachable, ConfigError, EdgeError

EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE = 1, 2, 4


def build_parser() -> argparse.ArgumentParser:
    """The command line, whole."""
    parser = argparse.ArgumentParser(prog="edge-agent", description="Runs models on this device, and talks to the agent that does.")
    parser.add_argument("--version", action="version", version=f"edge-agent {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the agent until told to stop")
    run.add_argument("--config", type=Path, required=True, metavar="FILE", help="agent.toml")
    run.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))

    check = commands.add_parser("check", help="say everything wrong with a configuration, by key")
    check.add_argument("--config", type=Path, required=True, metavar="FILE", help="agent.toml")
    check.add_argument("--json", action="store_true", help="print problems as JSON")

    _serving(commands)

    _talking(commands, "status", "what the running agent does now")
    _talking(commands, "models", "which models are installed and serve")
    install = _talking(commands, "install", "install a bundle: tried, swapped in, watched, taken back if it does harm")
    install.add_argument("bundle", type=Path, metavar="FILE", help="a .edgemodel bundle")
    rollback = _talking(commands, "rollback", "go back to the version before")
    rollback.add_argument("model", metavar="NAME")

    _talking(commands, "cancel", "take back the update that is under way; the version before serves")

    bench = _talking(commands, "bench", "time models side by side: start, p50/p95/p99, processor time, memory (a file needs no agent)")
    bench.add_argument(
        "model", nargs="+", metavar="NAME_OR_FILE", help="a model of the running agent, or a .onnx, .tflite or .edgemodel file"
    )
    bench.add_argument("--runs", type=_positive, metavar="N", help="timed runs of each model (default: one second of them)")
    bench.add_argument("--seconds", type=_seconds, metavar="S", help="time each model for S seconds at most")
    bench.add_argument("--warmup", type=_whole, default=20, metavar="N", help="runs before timing starts (default 20)")
    bench.add_argument("--threads", type=_numbers, default=(1,), metavar="N[,N]", help="threads inside one inference (default 1)")
    bench.add_argument("--ops", action="store_true", help="also the time by operator, in a pass of its own, where the runtime tells")
    bench.add_argument("--tune", action="store_true", help="try options on this board and say which the model runs best with")
    bench.add_argument("--rate", type=_seconds, default=0.0, metavar="HZ", help="with --tune: how often a second the model will be asked")
    return parser


def _serving(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "serve a model file over HTTP, with no configuration"
    sub = commands.add_parser("serve", help=text, description=f"{text}: Open Inference Protocol V2, TensorFlow Serving, /predict.")
    sub.add_argument("file", nargs="+", type=Path, metavar="FILE", help="a .onnx, .tflite or .edgemodel file")
    sub.add_argument("--name", default="", help="what the model is called (default: after its file, or as its bundle says)")
    sub.add_argument(
        "--listen", action="append", metavar="ADDR", help="127.0.0.1:8500 (default), [::1]:0 for a free port, unix:/path; may be repeated"
    )
    sub.add_argument("--lane", default="isolated", choices=("isolated", "inline"), help="inline: in the API's own process, quicker")
    sub.add_argument("--workers", type=_positive, default=1, help="processes for each model (default 1)")
    sub.add_argument("--threads", type=_positive, default=1, help="threads inside one inference (default 1)")
    sub.add_argument("--deadline-ms", type=_positive, default=10_000, help="when a request has an answer or an error (default 10000)")
    sub.add_argument("--queue", type=_positive, default=64, help="requests of a model that may wait before 429 is answered (default 64)")
    sub.add_argument("--memory-mib", type=_positive, default=0, metavar="MIB", help="memory each worker may use (default: no limit)")
    sub.add_argument("--token-file", type=Path, metavar="FILE", help="requests over TCP must carry the token in this file")
    sub.add_argument("--grpc", default="", metavar="ADDR", help="serve gRPC as well: 127.0.0.1:8501, unix:/path (needs edge-runtime[grpc])")


def _talking(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    sub = commands.add_parser(name, help=text, description=text)
    sub.add_argument("--config", type=Path, metavar="FILE", help="the agent's configuration, to find its socket")
    sub.add_argument(
        "--socket", type=Path, metavar="PATH", help="the agent's socket (default $EDGE_AGENT_SOCKET or /run/edge-agent/agent.sock)"
    )
    sub.add_argument("--json", action="store_true", help="print JSON")
    return sub


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_positive(word.strip()) for word in text.split(","))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 fine, 1 failed or refused, 2 bad usage or configuration, 4 no agent answers."""
    args = build_parser().parse_args(argv)
    try:
        status = _dispatch(args)
        sys.stdout.flush()  # here, where a reader that has gone can still be told from a failure
        return status
    except ConfigError as error:
        for problem in error.problems:
            print(f"edge-agent: {problem}", file=sys.stderr)
        return EXIT_USAGE
    except AgentUnreachable as error:
        print(f"edge-agent: {error}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except EdgeError as error:
        print(f"edge-agent: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def _serve(args: argparse.Namespace) -> int:
    from edge_agent.inference.zygote_start import start_zygote
    from edge_agent.serve_options import DEFAULT_LISTEN, ServeOptions, runtimes_of

    options = ServeOptions(
        files=tuple(args.file),
        name=args.name,
        listen=tuple(args.listen or DEFAULT_LISTEN),
        lane=args.lane,
        workers=args.workers,
        threads=args.threads,
        deadline_ms=float(args.deadline_ms),
        queue=args.queue,
        memory_limit_mib=args.memory_mib,
        token_file=args.token_file,
        grpc=args.grpc,
    )
    zygote = start_zygote(runtimes_of(options.files), api=True)  # its imports and ours, side by side
    try:
        from edge_agent.serve import serve

        return serve(options, zygote)
    finally:
        zygote.end()


def _dispatch(args: argparse.Namespace) -> int:
    # each command imports what it needs: the agent must not carry the client's modules, nor the client the agent's
    if args.command == "run":
        from edge_agent.run import run_agent

        return run_agent(args.config, log_level=args.log_level)
    if args.command == "check":
        from edge_agent.check import check_config

        return check_config(args.config, as_json=args.json)
    if args.command == "serve":
        return _serve(args)
    from edge_agent import client

    return client.COMMANDS[args.command](args)


if __name__ == "__main__":
    sys.exit(main())
