"""The local API over gRPC: ``python -m edge_agent.grpc_front --http unix:PATH --listen ADDR [--token-file FILE]``.

Prints one JSON line: ``{"listening": URL}`` or ``{"refused": REASON}``. Ends on SIGTERM; with ``--parent`` when standard input ends, or the
parent does.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import threading
from pathlib import Path

from edge_agent.addresses import Address, parse_address
from edge_agent.errors import EdgeError
from edge_agent.inference import process
from edge_agent.serving.http_listeners import read_token

TITLE = "edge-grpc"
SOCKET = "api-grpc.sock"
"""Where ``unix`` alone is: beside the HTTP API's socket."""
YOUNG_OBJECTS = 20_000
"""Until the garbage collector looks for cycles: calls leave none to speak of."""
_ENVIRONMENT = {"GRPC_VERBOSITY": "NONE", "GRPC_ENABLE_FORK_SUPPORT": "0"}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge_agent.grpc_front", description="The local API over gRPC, in front of the one over HTTP.")
    parser.add_argument("--http", required=True, metavar="unix:PATH", help="the HTTP API's socket")
    parser.add_argument("--listen", required=True, metavar="ADDR", help="127.0.0.1:8501, [::1]:0 for a free port, unix:/path, unix")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="calls over TCP must carry the token in this file")
    parser.add_argument("--max-body-bytes", type=int, default=64 << 20, help="the largest message that is taken (default 64 MiB)")
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="who started this process and ends it")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve until told to end; the exit status."""
    arguments = build_parser().parse_args(argv)
    os.environ.update({key: os.environ.get(key, value) for key, value in _ENVIRONMENT.items()})  # read when grpc is imported
    try:
        return _serve(arguments)
    except (EdgeError, ValueError) as error:
        _say({"refused": str(error)})
    except ImportError as error:
        _say({"refused": f"{error}; pip install 'edge-runtime[grpc]'"})
    return 1


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.parent:
        process.begin(TITLE, arguments.parent)
    from edge_agent.grpc_front.server import GrpcConfig, GrpcServer

    http = parse_address(arguments.http, default_path="")
    if not http.path:
        raise EdgeError(f"--http {arguments.http}: must be unix:PATH")
    os.umask(0o117)  # a unix socket is for the owner and the group, as the HTTP API's is
    listen = parse_address(arguments.listen, default_path=str(Path(http.path).with_name(SOCKET)))
    server = GrpcServer(GrpcConfig(Path(http.path), listen, read_token(arguments.token_file), arguments.max_body_bytes))
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    halt = threading.Event()
    if not arguments.parent:
        for word in (signal.SIGTERM, signal.SIGINT):
            signal.signal(word, lambda *_: halt.set())
    _say({"listening": _url(server.address)})
    if arguments.parent:
        while sys.stdin.buffer.read(4096):
            pass
    else:
        halt.wait()
    server.stop()
    return 0


def _url(address: Address) -> str:
    return address.url.removeprefix("http://")


def _say(tree: dict[str, str]) -> None:
    print(json.dumps(tree), flush=True)


if __name__ == "__main__":
    sys.exit(main())
