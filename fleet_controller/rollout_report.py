"""What became of an order, as a table for people or JSON for programs."""

from __future__ import annotations

import json
from typing import Any

from fleet_controller.rollout import Rollout, Target
from fleet_controller.store import PastRollout
from fleet_controller.table import table

COLLECT_S = 40
"""Long enough to hear every device that is connected: they repeat a final result about every 30 s."""

HEAD = ("device", "from", "to", "result", "seconds", "reason")


def _seconds(rollout: Rollout, target: Target) -> float | None:
    return None if target.ended_ns is None else round((target.ended_ns - rollout.start_ns) / 1e9, 3)


def print_end(rollout: Rollout, *, as_json: bool) -> None:
    """The end of an order, device by device."""
    if as_json:
        print(json.dumps(_end_tree(rollout), indent=2))
        return
    lines = []
    for t in rollout.targets:
        took = _seconds(rollout, t)
        lines.append(
            (t.device, t.from_version or "-", t.to_version or "-", t.phase.value, "-" if took is None else f"{took:.2f}", _told(t))
        )
    print(table(HEAD, lines, wide_last=True))


def _told(target: Target) -> str:
    if target.reason:
        return target.reason
    data = dict(target.data)
    models = data.get("models")
    if isinstance(models, list):
        return ", ".join(f"{m.get('name')}@{m.get('version')} {m.get('state')}" for m in models if isinstance(m, dict)) or "no models"
    return f"agent {data['agent_version']}" if "agent_version" in data else ""


def _end_tree(rollout: Rollout) -> dict[str, Any]:
    command = rollout.command
    devices = [
        {
            "device": t.device,
            "from": t.from_version,
            "to": t.to_version,
            "result": t.phase.value,
            "seconds": _seconds(rollout, t),
            "reason": t.reason,
            "data": dict(t.data),
        }
        for t in rollout.targets
    ]
    return {"id": command.id, "kind": command.kind, "args": dict(command.args), "succeeded": rollout.succeeded, "devices": devices}


def print_left(rollout: Rollout, *, as_json: bool) -> None:
    """An order nobody waits for."""
    if as_json:
        print(json.dumps(_end_tree(rollout), indent=2))
        return
    counts = ", ".join(f"{count} {phase}" for phase, count in rollout.counts().items())
    print(f"{rollout.command.id}: {counts}; look later: edge-fleet rollouts {rollout.command.id} --collect {COLLECT_S}")


def past_row(rollout: PastRollout) -> tuple[str, ...]:
    """One line of history: id, start, order, selector, counts."""
    phases = [outcome.phase for outcome in rollout.outcomes]
    counts = ", ".join(f"{phases.count(phase)} {phase}" for phase in dict.fromkeys(phases))
    what = "@".join(str(rollout.args[key]) for key in ("model", "version") if key in rollout.args)
    return (rollout.id, rollout.started, f"{rollout.kind} {what}".strip(), rollout.selector, counts)


def past_table(rollout: PastRollout) -> str:
    """One past order, device by device."""
    rows = [
        (o.device, o.from_version or "-", o.to_version or "-", o.phase, "-" if o.seconds is None else f"{o.seconds:.2f}", o.reason)
        for o in rollout.outcomes
    ]
    return table(HEAD, rows, wide_last=True)
