"""Workers that do not answer: stopped by a signal under load, or in a loop without end that a request sent them into.

And whether a server says so: its processes that run models, and the one that could make new ones, are stopped for good, and
``/v2/health/ready`` and the model's own are asked until one says no.
"""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.convert.files import table
from benchmarks.inference.contenders import MLSERVER, TRITON, Contender, models_of, standing
from benchmarks.inference.kills import answers, ask
from benchmarks.inference.loads import load, quantiles
from benchmarks.inference.nets import NETS
from benchmarks.inference.server import Server, eventually
from benchmarks.inference.stand import Order, Stand

NET = "looping"
CLIENTS = 2
DEADLINE_MS = 300.0
FREEZES, LOOPS = 20, 5
QUICK_FREEZES, QUICK_LOOPS = 4, 2
ENDLESS = 1e18
TIMEOUT_S = 10.0
RECOVERY_S = 10.0
PAUSE_S = 1.5
PEERS = (TRITON, MLSERVER)


def measure(*, quick: bool = False, ours: bool = True, peers: Sequence[Contender] = PEERS) -> dict[str, object]:
    """By server: the slowest request around each freeze, those that failed, how long the caller of an endless loop waited and what it was
    told, seconds until ``ready`` was false."""
    freezes, loops = (QUICK_FREEZES, QUICK_LOOPS) if quick else (FREEZES, LOOPS)
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    if ours:
        order = Order(NET, engine={"deadline_ms": DEADLINE_MS})
        with TemporaryDirectory(prefix="edge-hangs-") as name, Stand(Path(name) / "room", order) as stand:
            found[stand.title] = _hang(stand, freezes, loops)
    for contender in peers:
        found.update(_peer(contender, absent))
    return {"absent": absent, "clients": CLIENTS, "deadline_ms": DEADLINE_MS, "servers": found}


def _peer(contender: Contender, absent: dict[str, str]) -> dict[str, Any]:
    """A server for the freeze and one for the loop: none of them comes back."""
    found: dict[str, Any] = {}
    with models_of(NET) as models, standing([contender], models) as alone:
        absent.update(alone.absent)
        for title, server in alone.servers.items():
            found[title] = {**_freezes(server, 1), "unready_s": None}
    with models_of(NET) as models, standing([contender], models) as alone:
        for title, server in alone.servers.items():
            found[title].update(_loops(server, 1))
    with models_of(NET) as models, standing([contender], models) as alone:
        for title, server in alone.servers.items():
            found[title]["unready_s"] = _unready_s(server)
    return found


def _hang(stand: Stand, freezes: int, loops: int) -> dict[str, Any]:
    return {**_freezes(stand, freezes), **_loops(stand, loops), "unready_s": _unready_s(stand)}


def _freezes(server: Server, count: int) -> dict[str, Any]:
    with load(server, NETS[NET], clients=CLIENTS, timeout_s=TIMEOUT_S) as running:
        running.begin()
        marks_ns, back = [], 0
        for _ in range(count):
            time.sleep(0.5)
            marks_ns.append(time.monotonic_ns())
            os.kill(server.model_processes()[-1].pid, signal.SIGSTOP)
            back += eventually(lambda: answers(server, model=NET), RECOVERY_S) is not None
            time.sleep(PAUSE_S)
        _wake(server)
        found = running.end()
    slowest = [_slowest_ms(found, mark) for mark in marks_ns]
    half, most = quantiles(slowest, 0.5, 1.0)
    keys = ("freezes", "came_back", "failed", "reasons", "slowest_p50_ms", "slowest_max_ms")
    return dict(zip(keys, (count, back, found.failed, found.reasons, half, most), strict=True))


def _slowest_ms(found: Any, mark_ns: int) -> float:
    """Of the requests that were under way at the mark or began within a second after it."""
    near = (found.started_ns + found.took_ns > mark_ns) & (found.started_ns < mark_ns + 1_000_000_000)
    return float(found.took_ns[near].max()) / 1e6 if near.any() else float("nan")


def _loops(server: Server, count: int) -> dict[str, Any]:
    waited_ms, told = [], set()
    back = 0
    for turn in range(count):
        began_s = time.monotonic()
        try:
            status, body = ask(server, ENDLESS * (1 + turn), TIMEOUT_S, NET)
            told.add(f"{status} {body[:80].decode(errors='replace')}")
        except (OSError, http.client.HTTPException) as error:
            told.add(f"nothing ({type(error).__name__})")
        waited_ms.append((time.monotonic() - began_s) * 1000)
        back += eventually(lambda: answers(server, model=NET), RECOVERY_S) is not None
    return {"loops": count, "loop_waited_ms": max(waited_ms), "loop_told": sorted(told), "loop_came_back": back}


def _unready_s(server: Server) -> float | None:
    """Stops what runs models and what could make more of it; seconds until the server admits it, ``None``: not within the limit."""
    frozen = {process.pid for process in server.model_processes()}
    if isinstance(server, Stand):
        frozen |= {pid for role, pid in server.status()["processes"] if role == "zygote"}
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        return eventually(lambda: not _says_ready(server), RECOVERY_S)
    finally:
        _wake(server)


def _says_ready(server: Server) -> bool:
    try:
        return all(server.call("GET", path, timeout_s=2.0)[0] == 200 for path in server.ready_paths())
    except (OSError, http.client.HTTPException):
        return False


def _wake(server: Server) -> None:
    for pid in server.pids():
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


def lines(figures: dict[str, Any]) -> list[str]:
    text = [f"  {title}: {why}" for title, why in figures["absent"].items()]
    rows = [
        [
            "server",
            "freezes",
            "came back",
            "failed",
            "slowest p50 ms",
            "max ms",
            "endless loop: waited ms",
            "came back",
            "not ready after s",
        ]
    ]
    for title, f in figures["servers"].items():
        freezes = [str(f["freezes"]), str(f["came_back"]), str(f["failed"]), f"{f['slowest_p50_ms']:.0f}", f"{f['slowest_max_ms']:.0f}"]
        unready = "never" if f["unready_s"] is None else f"{f['unready_s']:.2f}"
        rows.append([title, *freezes, f"{f['loop_waited_ms']:.0f}", f"{f['loop_came_back']} of {f['loops']}", unready])
    text += [f"  deadline of edge-agent's requests: {figures['deadline_ms']:g} ms; peers have none, their clients wait {TIMEOUT_S:g} s"]
    return [*text, *table(rows), *(f"  {title}, endless loop: {'; '.join(f['loop_told'])}" for title, f in figures["servers"].items())]
