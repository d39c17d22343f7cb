"""The commands that talk to a running agent, and what they print."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_agent.config_file import load_config
from edge_agent.errors import CommandError
from edge_agent.serving.local_client import call_agent
from edge_agent.serving.local_socket import socket_path
from edge_agent.status_text import model_lines, status_lines

DEFAULT_RUNTIME_DIR = Path("/run/edge-agent")


def find_socket(args: argparse.Namespace) -> Path:
    """The socket named by ``--socket``, ``--config`` or ``$EDGE_AGENT_SOCKET``, else the usual place."""
    if args.socket is not None:
        return Path(args.socket)
    if args.config is not None:
        return socket_path(load_config(args.config).device.runtime_dir)
    return Path(os.environ.get("EDGE_AGENT_SOCKET", str(socket_path(DEFAULT_RUNTIME_DIR))))


def show_status(args: argparse.Namespace) -> int:
    status = call_agent(find_socket(args), {"call": "status"})
    if args.json:
        print(json.dumps(status, indent=2))
        return 0
    print("\n".join(status_lines(status)))
    return 0


def show_models(args: argparse.Namespace) -> int:
    models = call_agent(find_socket(args), {"call": "models"})
    if args.json:
        print(json.dumps(models, indent=2))
    else:
        print("\n".join(model_lines(models)))
    return 0


def install(args: argparse.Namespace) -> int:
    if not args.bundle.is_file():
        raise CommandError(f"{args.bundle}: no such file")
    return _carry_out(args, {"call": "install", "name": args.bundle.name}, attach=args.bundle)


def rollback(args: argparse.Namespace) -> int:
    return _carry_out(args, {"call": "rollback", "model": args.model})


def cancel(args: argparse.Namespace) -> int:
    result = call_agent(find_socket(args), {"call": "cancel"})
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"cancelled: {result['model']}@{result['version']}")
    return 0


def _carry_out(args: argparse.Namespace, request: Mapping[str, Any], attach: Path | None = None) -> int:
    def tell(progress: Mapping[str, Any]) -> None:
        if not args.json:
            print(progress.get("message", ""), file=sys.stderr)

    result = call_agent(find_socket(args), request, attach=attach, on_progress=tell, timeout_s=None)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{result['status']}{': ' + result['reason'] if result['reason'] else ''}")
    return 0 if result["status"] == "done" else 1


def measure_models(args: argparse.Namespace) -> int:
    from edge_agent.bench_command import run

    return run(args, lambda: call_agent(find_socket(args), {"call": "models"}))


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "status": show_status,
    "models": show_models,
    "install": install,
    "rollback": rollback,
    "cancel": cancel,
    "bench": measure_models,
}
