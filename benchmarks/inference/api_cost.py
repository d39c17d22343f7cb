"""What a request costs: latency, and processor time of all of a server's processes, over the Open Inference Protocol with binary tensors.

All servers run at once and take turns in short rounds, so that a machine that is busy for a while is busy for all. Latency is seen from a
client's raw socket; processor time is what the kernel's scheduler counted for the server's processes while its round lasted.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.convert.files import table
from benchmarks.inference.contenders import EVERYONE, TRITON, Contender, Standing, models_of, standing
from benchmarks.inference.environments import environment
from benchmarks.inference.loads import load
from benchmarks.inference.nets import NETS
from benchmarks.inference.perf_analyzer import throughput
from benchmarks.inference.processes import cpu_ns
from benchmarks.inference.server import Server, ServerFailed
from benchmarks.inference.truth import check_answers, true_answers

CLIENTS = (1, 4)
NAMES = ("sense", "img")
ROUNDS, ROUND_S = 6, 2.0
QUICK_ROUNDS, QUICK_ROUND_S = 2, 0.6
ANALYZED = (1, 4)


def measure(*, quick: bool = False, contenders: Sequence[Contender] = EVERYONE) -> dict[str, object]:
    """By ``net, N clients`` and server: p50, p99 (us), processor time (us) per request, requests a second, and the ratio of processor time
    to Triton's (median over the rounds). ``perf_analyzer``: its own throughput, by server and concurrency."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_ROUND_S) if quick else (ROUNDS, ROUND_S)
    with models_of(*NAMES) as models, standing(contenders, models) as stand:
        wanted = true_answers(models)
        for server in stand.servers.values():
            check_answers(server, wanted)
        found = {
            f"{net}, {clients} client{'s' * (clients > 1)}": _rounds(stand, net, clients, rounds, seconds)
            for net in NAMES
            for clients in CLIENTS
        }
        analyzed = _analyze(stand, rounds, quick=quick)
    return {
        "absent": dict(stand.absent),
        "rounds": rounds,
        "round_s": seconds,
        "load": os.getloadavg()[0],
        "costs": found,
        "perf_analyzer": analyzed,
    }


def _rounds(stand: Standing, net: str, clients: int, rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    taken: dict[str, list[dict[str, float]]] = {title: [] for title in stand.servers}
    for _ in range(rounds):
        for title, server in stand.servers.items():
            taken[title].append(_round(server, net, clients, seconds))
    keys = ("p50_us", "p99_us", "cpu_us", "per_s")
    found: dict[str, dict[str, Any]] = {t: {key: statistics.median(r[key] for r in each) for key in keys} for t, each in taken.items()}
    for title, each in taken.items():
        found[title]["failed"] = sum(r["failed"] for r in each)
        found[title]["tensors"] = "bytes" if stand.servers[title].binary else "JSON"
        if TRITON.title in taken:
            ratios = [mine["cpu_us"] / theirs["cpu_us"] for mine, theirs in zip(each, taken[TRITON.title], strict=True)]
            found[title]["cpu_of_triton"] = statistics.median(ratios)
    return found


def _round(server: Server, net: str, clients: int, seconds: float) -> dict[str, float]:
    with load(server, NETS[net], clients=clients, seconds=seconds) as running:
        pids = server.pids()
        before_ns = cpu_ns(pids)
        running.begin()
        found = running.end(early=False)
        spent_ns = cpu_ns(pids) - before_ns
    good = int(found.good.sum())
    return {
        "p50_us": found.quantile_us(0.5),
        "p99_us": found.quantile_us(0.99),
        "cpu_us": spent_ns / 1000 / good if good else float("nan"),
        "per_s": good / seconds,
        "failed": float(found.failed),
    }


def _analyze(stand: Standing, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Ours and Triton alone: the others do not answer what perf_analyzer asks (see the figure ``clients``)."""
    home = environment("perf-analyzer")
    if isinstance(home, str):
        return {"absent": home}
    titles = [title for title in stand.servers if title == TRITON.title or title.startswith("edge-agent")]
    taken: dict[str, dict[int, list[float]]] = {title: {n: [] for n in ANALYZED} for title in titles}
    try:
        for _ in range(1 if quick else max(3, rounds // 2)):
            for concurrency in ANALYZED:
                for title in titles:
                    taken[title][concurrency].append(throughput(home, stand.servers[title], "sense", concurrency, quick=quick))
    except ServerFailed as error:
        return {"absent": str(error)}
    return {title: {str(n): statistics.median(values) for n, values in each.items()} for title, each in taken.items()}


def lines(figures: dict[str, Any]) -> list[str]:
    text = [f"  {title}: {why}" for title, why in figures["absent"].items()]
    rows = [["net, clients, server", "p50 us", "p99 us", "CPU us/request", "requests/s", "CPU of Triton's", "failed"]]
    for case, servers in figures["costs"].items():
        for title, f in servers.items():
            ratio = f"{f['cpu_of_triton']:.2f}x" if "cpu_of_triton" in f else "-"
            numbers = [f"{f['p50_us']:.0f}", f"{f['p99_us']:.0f}", f"{f['cpu_us']:.0f}", f"{f['per_s']:.0f}", ratio, f"{f['failed']:.0f}"]
            rows.append([f"{case}: {title}{' (JSON)' if f['tensors'] == 'JSON' else ''}", *numbers])
    return [*text, *table(rows), *_analyzer_lines(figures["perf_analyzer"])]


def _analyzer_lines(found: dict[str, Any]) -> list[str]:
    if "absent" in found:
        return [f"  perf_analyzer: {found['absent']}"]
    rows = [["perf_analyzer, sense, HTTP binary", *(f"{n} at a time" for n in ANALYZED), *("of Triton's" for _ in ANALYZED)]]
    triton = found.get(TRITON.title)
    for title, each in found.items():
        ratios = [f"{each[str(n)] / triton[str(n)]:.2f}x" if triton else "-" for n in ANALYZED]
        rows.append([title, *(f"{each[str(n)]:.0f}/s" for n in ANALYZED), *ratios])
    return table(rows)
