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
    broker = status["broker"]
    link = "no broker configured" if broker is None else f"broker {broker['host']} {'connected' if broker['connected'] else 'AWAY'}"
    print(f"{status['device']} ({status['profile']}), edge-agent {status['agent_version']}, pid {status['pid']}, {link}")
    print(f"outbox: {status['outbox']['queued']} waiting, {status['outbox']['dropped']} dropped")
    _print_models(status["models"])
    for p in status["pipelines"]:
        c = p["counters"]
        print(
            f"pipeline {p['name']}: {p['state']}, {c['produced']} samples in, {c['processed']} answered, "
            f"{c['dropped']} dropped, {c['failed']} failed, {c['in_flight']} in flight"
        )
    update = status["update"]
    if update["state"] != "IDLE" or update["reason"]:
        what = update["command"] or {}
        print(f"update: {update['state']} {what.get('model', '')}@{what.get('version', '')} {update['reason']}".rstrip())
    _print_processes(status)
    return 0


def _print_processes(status: Mapping[str, Any]) -> None:
    metrics = status["metrics"] or {}
    measured = {p["pid"]: p for p in metrics.get("processes", [])}
    for process in status["processes"]:
        m = measured.get(process["pid"], {})
        pss = f"{m['pss_mib']:.1f} MiB PSS" if m.get("pss_mib") is not None else ""
        cpu = f"{m['cpu_percent']:.1f} % CPU" if m.get("cpu_percent") is not None else ""
        print(f"  {process['role']:32} pid {process['pid']:<8} {pss:>16} {cpu:>12}".rstrip())


def show_models(args: argparse.Namespace) -> int:
    models = call_agent(find_socket(args), {"call": "models"})
    if args.json:
        print(json.dumps(models, indent=2))
    else:
        _print_models(models)
    return 0


def _print_models(models: list[dict[str, Any]]) -> None:
    for m in models:
        before = f", before it {m['previous']['version']}" if m.get("previous") else ""
        version = f"@{m['version']}" if m["version"] else ""
        print(f"model {m['name']}{version}: {m['state']}{before}  {m['digest'][:12]}".rstrip())


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
