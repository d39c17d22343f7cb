"""What is to be made of a soak: every loss explained by what was done at that moment, or a violation."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.inference.soaking.clients import Client, Failure
from benchmarks.inference.soaking.faults import Fault
from benchmarks.inference.soaking.house import DEADLINE_S, FLUSH_S, PLAY, QUEUE, RATE_HZ, SILENT_S, WIRE
from benchmarks.inference.soaking.ledger import Ledger, Written
from benchmarks.inference.soaking.watch import Life

if TYPE_CHECKING:
    from benchmarks.inference.soak import Soak

LAG_S = 2.0
"""A status is told and asked for twice a second each; what happened since the last one is not in it."""
GROWTH_MIB = {"control": 4.0, "zygote": 2.0, "pipeline": 4.0, "api": 4.0, "worker": 4.0}
MORE_DESCRIPTORS, MORE_PROCESSES = 4, 1
EARLY_S, LATE_S = 600.0, 120.0
FEW = 25
DEADLINE = "at its deadline"
NS = 1_000_000_000


def judge(soak: Soak, took_s: float) -> dict[str, Any]:
    faults = soak.faults.done
    violations = [*soak.watch.violations[:FEW], *soak.swaps.violations, *soak.faults.violations[:FEW], *soak.stop_faults]
    violations += [f"the swapper stumbled: {error}" for error in soak.swapper.errors[:FEW]]
    for ledger in soak.ledgers.values():
        violations += ledger.violations
    violations += _hangs(soak)
    clients = {name: _client(name, client, faults, violations) for name, client in zip(("JSON", "binary"), soak.clients, strict=True)}
    pipelines = {name: _pipeline(soak, ledger, violations) for name, ledger in soak.ledgers.items()}
    return {
        "seconds": took_s,
        "seed": soak.faults.seed,
        "faults": dict(Counter(f"{_kind(fault.target)} {fault.how}" for fault in faults)),
        "missed": dict(soak.faults.missed),
        "fault_list": [[f.target, f.how, f.pid, f.at_ns, f.until_ns] for f in faults],
        "update_list": [[u.before, u.wanted, u.after, u.outcome, u.begun_ns, u.ended_ns] for u in soak.swaps.updates],
        "wall_less_monotonic_ns": time.time_ns() - time.monotonic_ns(),
        "starts": soak.house.starts,
        "updates": dict(Counter(update.outcome for update in soak.swaps.updates)),
        "update_reasons": dict(Counter(update.reason[:120] for update in soak.swaps.updates if update.reason).most_common(12)),
        "statuses": soak.watch.statuses,
        "pipelines": pipelines,
        "clients": clients,
        "mqtt": _mqtt(soak, violations),
        "held": _held(soak, violations),
        "violations": violations,
    }


def _kind(target: str) -> str:
    return target.split(":")[0]


def _during(faults: list[Fault], since_ns: int, until_ns: int, *kinds: str) -> list[Fault]:
    """Faults of these kinds that touch a stretch of time."""
    return [f for f in faults if _kind(f.target) in kinds and f.at_ns <= until_ns and (f.until_ns or f.at_ns) >= since_ns]


def _hangs(soak: Soak) -> list[str]:
    """Workers that are said to hang though nobody froze them, nor who they wait for."""
    half_ns = int(DEADLINE_S / 2 * NS)
    strange = [text for at, text in soak.watch.hangs if not _frozen(soak.faults.done, at - half_ns - 2 * NS, at)]
    return [f"nothing was frozen, and the agent logged: {text}" for text in strange[:FEW]]


def _frozen(faults: list[Fault], since_ns: int, until_ns: int) -> bool:
    return any(fault.how in ("STOP", "PAUSE") for fault in _during(faults, since_ns, until_ns, "worker", "zygote"))


def _client(name: str, client: Client, faults: list[Fault], violations: list[str]) -> dict[str, Any]:
    answers = client.answers
    violations += [f"client {name}: wrong: {what}" for what in answers.wrong[:FEW]]
    reasons: Counter[str] = Counter()
    late: list[str] = []
    for failure in answers.failures:
        reason = explained(failure, faults)
        late += [f"{failure.text}; {_near(failure, faults)}"] if reason == DEADLINE else []
        reasons[reason or "unexplained"] += 1
        if not reason and reasons["unexplained"] <= FEW:
            took_s = (failure.ended_ns - failure.began_ns) / NS
            violations.append(f"client {name}: {failure.status} after {took_s:.2f} s: {failure.text}; {_near(failure, faults)}")
    return {
        "good": answers.good,
        "wrong": answers.wrong[:FEW],
        "failed": dict(reasons),
        "at_the_deadline": late[:FEW],
        "slowest_ms": answers.slowest_ms,
        "over_100_ms": answers.over_100_ms,
    }


def explained(failure: Failure, faults: list[Fault]) -> str:
    """Why a request failed, where it had a right to; empty where it had none."""
    began, ended = failure.began_ns, failure.ended_ns
    if failure.status == 0:
        if _during(faults, began - NS, ended, "agent"):
            return "with the agent killed"
        ends = [fault for fault in _during(faults, began - NS, ended, "api", "zygote") if fault.how != "PAUSE"]
        return "with the API's process killed or hanging" if ends else ""
    if failure.status in (503, 504) and ended - began >= (DEADLINE_S - 0.05) * NS:
        return DEADLINE
    if failure.status == 503 and _during(faults, began - 3 * NS, ended, "agent"):
        return "while the agent started"
    hits = _during(faults, began - int(DEADLINE_S * NS), ended, "worker", "zygote")
    return "its worker was harmed twice" if failure.status in (500, 503) and len(hits) >= 2 else ""


def _near(failure: Failure, faults: list[Fault]) -> str:
    near = [f for f in faults if abs(f.at_ns - failure.began_ns) < 12 * NS]
    return "; ".join(f"{f.target} {f.how} at {(f.at_ns - failure.began_ns) / NS:+.2f} s" for f in near) or "no fault near it"


def _pipeline(soak: Soak, ledger: Ledger, violations: list[str]) -> dict[str, Any]:
    told = [life for (name, _), life in soak.watch.lives.items() if name == ledger.pipeline]
    if ledger.pipeline in (PLAY, WIRE):
        for index, written in enumerate(ledger.lives):
            _compare(ledger.pipeline, written, told, violations, last=index == len(ledger.lives) - 1)
    most = ledger.longest_loss()
    if most > QUEUE + RATE_HZ * SILENT_S:
        violations.append(f"{ledger.pipeline}: {most} readings were lost with one process, more than its queue")
    if ledger.pipeline == WIRE:
        last = ledger.lives[-1].last_number if ledger.lives else -1
        if last != soak.feed.sent - 1:
            violations.append(f"{WIRE}: reading {soak.feed.sent - 1} was the last one sent, {last} the last one answered")
        if ledger.counts["lost at a new plug while it was not read"]:
            violations += _unread(soak, ledger)
    return {
        "lives": len(ledger.lives),
        "lines": ledger.counts["lines"],
        "missing": sum(written.missing for written in ledger.lives),
        "told_dropped": sum(life.counters["dropped"] for life in told),
        "told_failed": sum(life.counters["failed"] for life in told),
        "replayed": sum(life.counters["replayed"] for life in told),
        "lost_with_process": ledger.counts["lost with the process"],
        "lost_most": most,
        "lost_at_new_plug": ledger.counts["lost at a new plug while it was not read"],
        "losses": [written.lost_after for written in ledger.lives if written.lost_after > 5],
        "sent": soak.feed.sent if ledger.pipeline == WIRE else None,
    }


def _unread(soak: Soak, ledger: Ledger) -> list[str]:
    """A new sender takes the place of one before it: what that had sent and nobody had read is gone. Only a frozen reader leaves any."""
    frozen = [f for f in soak.faults.done if f.target == f"pipeline:{WIRE}" and f.how in ("STOP", "PAUSE")]
    count = ledger.counts["lost at a new plug while it was not read"]
    return [] if frozen else [f"{WIRE}: {count} readings were lost at a new plug though the reader was never frozen"]


def _compare(pipeline: str, written: Written, told: list[Life], violations: list[str], *, last: bool) -> None:
    """What is missing from the file against what the process said it had dropped or failed."""
    overlaps = [(min(life.last_ns, written.ended_ns) - max(life.first_ns, written.began_ns), life) for life in told]
    best = max(overlaps, key=lambda pair: pair[0], default=None)
    if best is None or best[0] < 0:
        if written.missing > RATE_HZ * LAG_S:
            violations.append(f"{pipeline}: {written.missing} samples are missing in a life that no status tells of")
        return
    life = best[1]
    counted = life.counters["dropped"] + life.counters["failed"]
    slack = 0 if last else int(RATE_HZ * LAG_S)
    if written.missing > counted + slack:
        violations.append(f"{pipeline} ({life.pid}): {written.missing} samples are missing, {counted} are said to be dropped or failed")
    if written.missing < counted - (0 if last else QUEUE):
        violations.append(f"{pipeline} ({life.pid}): {counted} samples are said to be dropped or failed, {written.missing} are missing")
    answered = written.lines
    if answered < life.counters["processed"]:
        violations.append(f"{pipeline} ({life.pid}): {life.counters['processed']} samples are said to be processed, {answered} are written")
    if last and pipeline == WIRE and answered != life.counters["processed"]:
        violations.append(f"{pipeline} ({life.pid}): {life.counters} at the end, {answered} lines")


def _mqtt(soak: Soak, violations: list[str]) -> dict[str, Any]:
    """Every answered reading against what the subscriber saw."""
    ledger, subscriber = soak.ledgers[WIRE], soak.subscriber
    assert subscriber is not None
    missing = [number for number in ledger.answered_ns if not subscriber.seen[number]]
    kills = [f.at_ns for f in soak.faults.done if f.target == "agent"]
    deaths = [written.last_number for written in ledger.lives]
    with_agent = [n for n in missing if any(-NS <= at - ledger.answered_ns[n] <= (FLUSH_S + 1.0) * NS for at in kills)]
    with_pipeline = [n for n in set(missing) - set(with_agent) if n in set(deaths)]
    dropped = sum(soak.watch.dropped_outbox.values())
    sinks = [life.sinks.get(f"{WIRE}.mqtt", {}) for (name, _), life in soak.watch.lives.items() if name == WIRE]
    refused = sum(sink.get("dropped", 0) + sink.get("failed", 0) for sink in sinks)
    left = sorted(set(missing) - set(with_agent) - set(with_pipeline))
    if len(left) > dropped + refused:
        violations.append(f"MQTT: {len(left)} predictions never arrived, {dropped + refused} are counted as dropped: {left[:20]}")
    strangers = sum(subscriber.seen) - (len(ledger.answered_ns) - len(missing))
    if strangers:
        violations.append(f"MQTT: {strangers} readings arrived that are not in the file")
    violations += [f"MQTT: {what}" for what in subscriber.strange[:FEW]]
    return {
        "answered": len(ledger.answered_ns),
        "arrived": sum(subscriber.seen),
        "messages": subscriber.messages,
        "missing": len(missing),
        "in_a_killed_agent": len(with_agent),
        "in_a_killed_pipeline": len(with_pipeline),
        "dropped": dropped,
        "refused": refused,
        "outbox_most": soak.watch.outbox_most,
    }


def _held(soak: Soak, violations: list[str]) -> dict[str, Any]:
    """Memory, descriptors and processes early and late in the agent's last life."""
    last = soak.house.starts
    ours = [held for held in soak.watch.holdings if held.start == last]
    if not ours:
        return {"early": {}, "late": {}}
    first_s, end_s = ours[0].at_s, ours[-1].at_s
    early_s = min(EARLY_S, (end_s - first_s) / 3)
    early = soak.watch.steady(first_s + early_s * 0.7, first_s + early_s * 1.3, last)
    late = soak.watch.steady(end_s - min(LATE_S, (end_s - first_s) / 4), end_s, last)
    for role, mib in late.get("mib", {}).items():
        limit = GROWTH_MIB.get(_kind(role))
        before = early.get("mib", {}).get(role)
        if limit is not None and before is not None and mib > before + limit:
            violations.append(f"{role} grew from {before:.1f} to {mib:.1f} MiB within {end_s - first_s:.0f} s")
    for key in ("descriptors", "memory_files"):
        for role, count in late.get(key, {}).items():
            if count > early.get(key, {}).get(role, count) + MORE_DESCRIPTORS:
                violations.append(f"{role} held {early[key][role]:g} {key}, and {count:g} at the end")
    if early and late and late["processes"] > early["processes"] + MORE_PROCESSES:
        violations.append(f"there were {early['processes']:g} processes, and {late['processes']:g} at the end")
    minutes = [{"at_s": round(held.at_s), "start": held.start, **held.mib} for held in soak.watch.holdings[::12]]
    return {"life_s": end_s - first_s, "early": early, "late": late, "minutes": minutes}
