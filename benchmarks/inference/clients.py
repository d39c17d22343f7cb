"""What NVIDIA's unmodified clients can do with each server: ``tritonclient``'s calls over HTTP and gRPC, ``perf_analyzer`` to its end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from benchmarks.convert.files import table
from benchmarks.inference.contenders import FASTAPI, KSERVE, MLSERVER, TRITON, WITH_GRPC, Contender, models_of, standing
from benchmarks.inference.environments import Environment, environment
from benchmarks.inference.nets import NETS
from benchmarks.inference.peers import PROGRAMS
from benchmarks.inference.perf_analyzer import throughput
from benchmarks.inference.server import Server, ServerFailed

NET = "sense"
HTTP_CALLS, GRPC_CALLS = 14, 6
TIMEOUT_S = 120.0
EVERYONE = (WITH_GRPC, TRITON, MLSERVER, KSERVE, FASTAPI)


def measure(*, quick: bool = False, contenders: Sequence[Contender] = EVERYONE) -> dict[str, object]:
    """By server: for each call nothing or why it failed, and what perf_analyzer measured over each protocol, or why it could not."""
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    client, analyzer = environment("tritonclient"), environment("perf-analyzer")
    if isinstance(client, str):
        return {"absent": {"tritonclient": client}, "servers": {}}
    for contender in contenders:
        with models_of(NET) as models, standing([contender], models) as alone:
            absent.update(alone.absent)
            for title, server in alone.servers.items():
                found[title] = {**_matrix(client, server), "perf_analyzer": _analyzed(analyzer, server)}
    return {"absent": absent, "servers": found}


def _matrix(home: Environment, server: Server) -> dict[str, Any]:
    grpc = f"127.0.0.1:{server.grpc_port}" if server.grpc_port is not None else "-"
    words = [server.url, grpc, NET, ",".join(map(str, NETS[NET].size))]
    command = [str(home.python), str(PROGRAMS / "client_matrix.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode:
        raise ServerFailed(f"the calls to {server.title} ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _analyzed(home: Environment | str, server: Server) -> dict[str, str]:
    found = {}
    for protocol in ("http", *(("grpc",) if server.grpc_port is not None else ())):
        if isinstance(home, str):
            found[protocol] = home
            continue
        try:
            found[protocol] = f"{throughput(home, server, NET, 1, quick=True, protocol=protocol):.0f}/s"
        except ServerFailed as error:
            found[protocol] = " ".join(str(error).split())[:200]
    return found


def lines(figures: dict[str, Any]) -> list[str]:
    text = [f"  {title}: {why}" for title, why in figures["absent"].items()]
    rows = [["server", "HTTP", "gRPC", "perf_analyzer, HTTP", "gRPC"]]
    for title, f in figures["servers"].items():
        analyzed = [f["perf_analyzer"].get(protocol, "-") for protocol in ("http", "grpc")]
        cells = [cell if cell == "-" or cell.endswith("/s") else "fails" for cell in analyzed]
        rows.append([title, _share(f["http"], HTTP_CALLS), _share(f["grpc"], GRPC_CALLS), *cells])
    text += table(rows)
    for title, f in figures["servers"].items():
        text += [f"  {title}, {name}: {why}" for kind in ("http", "grpc") for name, why in f[kind].items() if why]
        text += [
            f"  {title}, perf_analyzer, {protocol}: {said}" for protocol, said in f["perf_analyzer"].items() if not said.endswith("/s")
        ]
    return text


def _share(calls: dict[str, str], of: int) -> str:
    return f"{sum(not why for why in calls.values())}/{of}" if calls else "none"
