"""Workers killed under load: by SIGKILL, by SIGSEGV, and by the kernel for want of memory.

For the last one the worker is put into a control group that grants 4 MiB more, and a request makes the model ask for 10 MB: little, for
its successor answers that request, and others wait meanwhile. A killing's outage is the longest time without a good answer around it, to
any of the clients.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.convert.files import table
from benchmarks.inference.cage import Cage
from benchmarks.inference.contenders import MLSERVER, TRITON, Contender, models_of, standing
from benchmarks.inference.loads import Load, load, outage_ms, quantiles
from benchmarks.inference.nets import NETS
from benchmarks.inference.server import Server, eventually
from benchmarks.inference.stand import Order, Stand

NET = "growing"
CLIENTS = 4
KILLS, QUICK_KILLS = 200, 12
PEER_KILLS, QUICK_PEER_KILLS = 4, 2
SPACING_S = 0.7
"""No more than twenty deaths in ten seconds: beyond that the engine lets a worker rest on purpose."""
RECOVERY_S = 15.0
SETTLE_S = 2.0
TIMEOUT_S = 10.0
GREED, DIFFERENT = 2.5e6, 1e3
"""No two requests alike: the engine would refuse one that had killed twice before."""
SIGKILL, SIGSEGV, OOM = "SIGKILL", "SIGSEGV", "OOM"
PEERS = (TRITON, MLSERVER)


@dataclass(frozen=True, slots=True)
class Killing:
    """``how`` and when (monotonic ns); ``back_s`` until a probe was answered again, ``None`` when none was within the limit."""

    how: str
    at_ns: int
    back_s: float | None


def measure(*, quick: bool = False, ours: bool = True, peers: Sequence[Contender] = PEERS) -> dict[str, object]:
    """By server: kills by kind, requests, failed, outage p50, p99, at most (ms); whether the server came back; what it left behind."""
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    if ours:
        with TemporaryDirectory(prefix="edge-kills-") as name, Stand(Path(name) / "room", Order(NET)) as stand:
            found[stand.title] = _under_load(stand, (SIGKILL, SIGSEGV, OOM), QUICK_KILLS if quick else KILLS)
    for contender in peers:
        for how in (SIGKILL, SIGSEGV):  # each on a server of its own: one that does not come back takes no second
            with models_of(NET) as models, standing([contender], models) as alone:
                absent.update(alone.absent)
                for title, server in alone.servers.items():
                    found[f"{title}, {how}"] = _under_load(server, (how,), QUICK_PEER_KILLS if quick else PEER_KILLS)
    return {"absent": absent, "clients": CLIENTS, "servers": found}


def _under_load(server: Server, hows: Sequence[str], kills: int) -> dict[str, Any]:
    descriptors = _descriptors(server)
    with ExitStack() as held:
        cage = held.enter_context(Cage()) if OOM in hows else None
        possible = [how for how in hows if how != OOM or (cage is not None and not cage.refusal)]
        running = held.enter_context(load(server, NETS[NET], clients=CLIENTS, timeout_s=TIMEOUT_S))
        done = _kill_all(server, running, list(islice(cycle(possible), kills)), cage)
        facts = _told(running, done)
        time.sleep(SETTLE_S)
    return {**facts, "no_oom": cage.refusal if cage is not None else "", "descriptors_more": _descriptors(server) - descriptors}


def _kill_all(server: Server, running: Load, hows: Sequence[str], cage: Cage | None) -> list[Killing]:
    running.begin()
    time.sleep(SPACING_S)
    done = []
    for turn, how in enumerate(hows):
        at_ns = time.monotonic_ns()
        _kill(server, how, cage, GREED + turn * DIFFERENT)
        back_s = eventually(lambda: answers(server), RECOVERY_S)
        done.append(Killing(how, at_ns, back_s))
        if back_s is None:
            break
        time.sleep(max(0.0, SPACING_S - back_s))
    return done


def _kill(server: Server, how: str, cage: Cage | None, greed: float) -> None:
    victim = server.model_processes()[-1].pid
    if how != OOM or cage is None:
        os.kill(victim, signal.Signals[how])
        return
    cage.take(victim)
    threading.Thread(target=ask, args=(server, greed), daemon=True).start()
    if eventually(lambda: not Path(f"/proc/{victim}").exists(), RECOVERY_S) is None:
        raise RuntimeError(f"{server.title}: the kernel did not kill worker {victim}, which asked for 10 MB in a group of 4 MiB")


def ask(server: Server, value: float = 0.0, timeout_s: float = TIMEOUT_S, model: str = NET) -> tuple[int, bytes]:
    """One request with JSON tensors whose largest value is ``value`` (0: harmless). Raises OSError, HTTPException."""
    x = NETS[NET].sample()
    if value:
        x[0, 0, 0] = value
    given = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    return server.call("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": [given]}).encode(), timeout_s=timeout_s)


def answers(server: Server, model: str = NET) -> bool:
    """Whether a harmless request is answered with a 200 within a second."""
    try:
        return ask(server, timeout_s=1.0, model=model)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def _told(running: Load, done: Sequence[Killing]) -> dict[str, Any]:
    time.sleep(SPACING_S)
    found = running.end()
    ends_ns = [killing.at_ns for killing in done[1:]] + [time.monotonic_ns()]
    outages = [outage_ms(found, killing.at_ns, end_ns) for killing, end_ns in zip(done, ends_ns, strict=True)]
    back = [killing.back_s is not None for killing in done]
    half, most_of, most = quantiles(outages, 0.5, 0.99, 1.0)
    by_kind = {how: quantiles([o for o, k in zip(outages, done, strict=True) if k.how == how], 0.5, 1.0) for how in {k.how for k in done}}
    return {
        "kills": dict(Counter(killing.how for killing in done)),
        "requests": found.count,
        "failed": found.failed,
        "reasons": found.reasons,
        "outage_p50_ms": half,
        "outage_p99_ms": most_of,
        "outage_max_ms": most,
        "outage_by_kind_ms": by_kind,
        "came_back": sum(back),
    }


def _descriptors(server: Server) -> int:
    """Open descriptors of all processes that stay: the first of the tree."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def lines(figures: dict[str, Any]) -> list[str]:
    text = [f"  {title}: {why}" for title, why in figures["absent"].items()]
    rows = [["server", "kills", "came back", "requests", "failed", "outage p50 ms", "p99 ms", "max ms", "descriptors"]]
    for title, f in figures["servers"].items():
        kills = ", ".join(f"{count} {how}" for how, count in f["kills"].items())
        times = [f"{f[f'outage_{key}_ms']:.0f}" for key in ("p50", "p99", "max")]
        rows.append([title, kills, str(f["came_back"]), str(f["requests"]), str(f["failed"]), *times, f"{f['descriptors_more']:+d}"])
    text += table(rows)
    for title, f in figures["servers"].items():
        kinds = "; ".join(f"{how} p50 {half:.0f} ms, max {most:.0f} ms" for how, (half, most) in sorted(f["outage_by_kind_ms"].items()))
        text.append(f"  {title}: {kinds}")
    notes = [f"  {title}: {'; '.join(f['reasons'])}" for title, f in figures["servers"].items() if f["reasons"]]
    return [*text, *notes, *(f"  no OOM kills: {f['no_oom']}" for f in figures["servers"].values() if f["no_oom"])]
