"""Processor time at rest, and of pipelines at 10 and 100 Hz against the same runtime calls at the same rate in a bare loop.

The bare loop is one process that sleeps, calls ONNX Runtime (one thread, no spinning) and sleeps again: its processor time, wake-ups
included, is what inference at that rate costs at least. Ours is counted over all processes: source, windows, steps, the hop to the worker,
the file that the sink writes, and the control process. The third is the same bare loop with ONNX Runtime as it comes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.convert.files import table
from benchmarks.inference.contenders import ISOLATED, KSERVE, MLSERVER, MLSERVER_ALONE, TRITON, Contender, models_of, standing
from benchmarks.inference.nets import NETS
from benchmarks.inference.processes import cpu_ns
from benchmarks.inference.stand import Order, Play, Stand

CASES = (("img", 10.0), ("sense", 100.0))
ROUNDS, ROUND_S, REST_S = 3, 15.0, 30.0
QUICK_ROUNDS, QUICK_ROUND_S, QUICK_REST_S = 1, 4.0, 5.0
SETTLE_S = 2.0
BARE, DEFAULTS = "bare loop", "bare loop, ONNX Runtime's defaults"
PEERS = (TRITON, MLSERVER, MLSERVER_ALONE, KSERVE)


def measure(*, quick: bool = False, ours: bool = True, peers: Sequence[Contender] = PEERS) -> dict[str, object]:
    """``rest``: percent of a core by server. ``pipelines``: by case and way percent of a core, us a window, and times the bare loop."""
    rounds, seconds, rest_s = (QUICK_ROUNDS, QUICK_ROUND_S, QUICK_REST_S) if quick else (ROUNDS, ROUND_S, REST_S)
    with models_of("sense") as models, standing((ISOLATED,) * ours + tuple(peers), models) as stand:
        rest = _rest(stand.servers, rest_s)
        absent = dict(stand.absent)
    pipelines = {f"{net} at {rate:g} Hz": _case(net, rate, rounds, seconds, ours=ours) for net, rate in CASES}
    return {"absent": absent, "rest": rest, "pipelines": pipelines}


def _rest(servers: Any, seconds: float) -> dict[str, float]:
    time.sleep(SETTLE_S)
    pids = {title: server.pids() for title, server in servers.items()}
    before_ns = {title: cpu_ns(each) for title, each in pids.items()}
    time.sleep(seconds)
    return {title: (cpu_ns(each) - before_ns[title]) / 1e7 / seconds for title, each in pids.items()}


def _case(net: str, rate_hz: float, rounds: int, seconds: float, *, ours: bool) -> dict[str, dict[str, float]]:
    taken: dict[str, list[float]] = {}
    with models_of(net) as models:
        for _ in range(rounds):
            for lane in ("isolated", "inline") if ours else ():
                with _pipeline(net, rate_hz, lane) as stand:
                    taken.setdefault(f"edge-agent, {lane}", []).append(_percent(stand.pids(), seconds))
            for way in (BARE, DEFAULTS):
                with _bare(models[net], net, rate_hz, *(("defaults",) if way == DEFAULTS else ())) as pid:
                    taken.setdefault(way, []).append(_percent([pid], seconds))
    bare = statistics.median(taken[BARE])
    medians = {way: statistics.median(values) for way, values in taken.items()}
    return {way: {"percent": value, "window_us": value * 1e4 / rate_hz, "times_bare": value / bare} for way, value in medians.items()}


@contextmanager
def _pipeline(net: str, rate_hz: float, lane: str) -> Iterator[Stand]:
    order = Order(net, lane=lane, api=False, play=Play(rate_hz))
    with TemporaryDirectory(prefix="edge-idle-") as name, Stand(Path(name) / "room", order) as stand:
        time.sleep(SETTLE_S)
        yield stand


@contextmanager
def _bare(file: Path, net: str, rate_hz: float, *more: str) -> Iterator[int]:
    words = [str(file), ",".join(map(str, NETS[net].size)), str(rate_hz), *more]
    command = [sys.executable, "-m", "benchmarks.inference.programs.bare_loop", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the bare loop ended with {process.wait()}")
        time.sleep(SETTLE_S)
        yield process.pid


def _percent(pids: Sequence[int], seconds: float) -> float:
    before_ns, began_s = cpu_ns(pids), time.monotonic()
    time.sleep(seconds)
    return (cpu_ns(pids) - before_ns) / 1e7 / (time.monotonic() - began_s)


def lines(figures: dict[str, Any]) -> list[str]:
    text = [f"  {title}: {why}" for title, why in figures["absent"].items()]
    text += table([["at rest, one model", "% of a core"], *([title, f"{share:.2f}"] for title, share in figures["rest"].items())])
    rows = [["pipeline, way", "% of a core", "us a window", "times the bare loop"]]
    for case, ways in figures["pipelines"].items():
        rows += [[f"{case}: {way}", f"{f['percent']:.2f}", f"{f['window_us']:.0f}", f"{f['times_bare']:.2f}x"] for way, f in ways.items()]
    return [*text, *table(rows)]
