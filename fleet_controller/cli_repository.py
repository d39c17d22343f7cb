"""The commands that make, fill, renew and serve a model repository. The signing libraries are imported when one of them runs."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeError
from fleet_controller.table import clean, table

if TYPE_CHECKING:
    from fleet_controller.repository import Repository

_RENEW_CHECK_S = 60.0


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the commands of this file."""
    init = commands.add_parser("init", help="make a signed model repository", description="Make a signed model repository, keys included.")
    init.add_argument("dir", type=Path, metavar="DIR", help="a folder that is empty or does not exist yet")
    publish = commands.add_parser("publish", help="check a bundle and add it", description="Check a bundle whole, sign it, add it.")
    publish.add_argument("bundle", type=Path, metavar="FILE", help="a .edgemodel bundle")
    refresh = commands.add_parser("refresh", help="renew the short-lived signatures", description="Renew snapshot and timestamp.")
    targets = commands.add_parser("targets", help="what is published", description="List what is published.")
    serve = commands.add_parser("serve", help="serve the public folder over HTTP", description="Serve the public folder over HTTP.")
    for parser in (publish, refresh, targets, serve):
        parser.add_argument("--repo", type=Path, required=True, metavar="DIR", help="the repository")
    for parser in (init, publish, refresh, serve):
        parser.add_argument("--keys", type=Path, metavar="DIR", help="where the private keys are (default: keys/ in the repository)")
        parser.add_argument(
            "--passphrase-file",
            type=Path,
            metavar="FILE",
            help="passphrase of the keys (default $EDGE_FLEET_PASSPHRASE; none: not encrypted)",
        )
    for parser in (init, publish, refresh, targets):
        parser.add_argument("--json", action="store_true", help="print JSON")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine only)")
    serve.add_argument("--port", type=_port, default=8080, help="TCP port, 0 for any free one (default %(default)s)")
    serve.add_argument("--log", action="store_true", help="write one JSON object per request to stderr")


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 0 to 65535")
    return int(text)


def init(args: argparse.Namespace) -> int:
    root = _repository(args, args.dir).init()
    if args.json:
        print(json.dumps({"repository": str(args.dir), "root": str(root), "keys": str(args.keys or args.dir / "keys")}))
        return 0
    print(f"made {args.dir}")
    print(f"trusted root for every device: {root}")
    print(f"private keys: {args.keys or args.dir / 'keys'} (keep root.pem and targets.pem off machines that face the network)")
    return 0


def publish(args: argparse.Namespace) -> int:
    published = _repository(args, args.repo).publish(args.bundle)
    target = published.target
    if args.json:
        print(json.dumps({**asdict(target), "new": published.new}))
    elif published.new:
        print(f"published {target.model}@{target.version}  {target.bytes} bytes  sha256 {target.sha256}")
    else:
        print(f"{target.model}@{target.version} is published already with these very bytes; nothing was changed")
    return 0


def refresh(args: argparse.Namespace) -> int:
    _print_expiries(_repository(args, args.repo).refresh(), as_json=args.json)
    return 0


def targets(args: argparse.Namespace) -> int:
    found = _repository(args, args.repo).targets()
    if args.json:
        print(json.dumps([asdict(target) for target in found], indent=2))
    elif found:
        print(table(("model", "version", "bytes", "sha256"), [(t.model, t.version, str(t.bytes), t.sha256) for t in found]))
    else:
        print(f"{args.repo}: nothing is published yet", file=sys.stderr)
    return 0


def serve(args: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT. Short-lived signatures are renewed on the way where their keys are here."""
    from fleet_controller.serve import PublicServer

    repository = _repository(args, args.repo)
    repository.expires()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = PublicServer((args.host, args.port), repository.public, SystemClock(), log_requests=args.log)
    renewer = Renewer(repository)
    renewer.renew()
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    print(f"serving {args.repo} at {server.url}", flush=True)
    while not stop.wait(_RENEW_CHECK_S):
        renewer.renew()
    server.shutdown()
    server.server_close()
    return 0


class Renewer:
    """Keeps the short-lived signatures fresh; says once when it cannot, and once when it can again."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._failing = False

    def renew(self) -> None:
        try:
            renewed = self._repository.refresh_if_due()
        except EdgeError as error:
            if not self._failing:
                print(f"edge-fleet: cannot renew the signatures: {clean(str(error))}", file=sys.stderr, flush=True)
            self._failing = True
            return
        if renewed or self._failing:
            print("edge-fleet: the signatures are fresh", file=sys.stderr, flush=True)
        self._failing = False


def _repository(args: argparse.Namespace, folder: Path) -> Repository:
    from fleet_controller.keys import read_passphrase
    from fleet_controller.repository import Repository

    if not hasattr(args, "keys"):
        return Repository(folder, SystemClock())
    return Repository(folder, SystemClock(), keys=args.keys, passphrase=read_passphrase(args.passphrase_file))


def _print_expiries(expires: Mapping[str, datetime], *, as_json: bool) -> None:
    texts: dict[str, Any] = {role: moment.strftime("%Y-%m-%dT%H:%M:%SZ") for role, moment in expires.items()}
    print(json.dumps(texts) if as_json else table(("role", "valid until"), list(texts.items())))


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "init": init,
    "publish": publish,
    "refresh": refresh,
    "targets": targets,
    "serve": serve,
}
