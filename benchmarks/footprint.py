"""Memory and processor time of every process of a device at rest: one model, one sample a second, broker connected.

PSS (proportional set size, proc(5) smaps_rollup) shares out pages that several processes map, so the sum is what the device costs.
"""

from __future__ import annotations

import threading

from benchmarks.stage import standing

SETTLE_S = 12.0


def footprint() -> dict[str, object]:
    """MiB of PSS by role, and their sum, after :data:`SETTLE_S` seconds."""
    with standing(1.0) as stage:
        threading.Event().wait(SETTLE_S)
        metrics = stage.device.status()["metrics"]
        assert isinstance(metrics, dict)
        rows = metrics["processes"]
        return {
            "processes": [
                {"role": p["role"], "pss_mib": p["pss_mib"], "rss_mib": p["rss_mib"], "cpu_percent": p["cpu_percent"]} for p in rows
            ],
            "sum_pss_mib": round(sum(p["pss_mib"] or 0 for p in rows), 1),
        }


def lines(figures: dict[str, object]) -> list[str]:
    rows = figures["processes"]
    assert isinstance(rows, list)
    text = [
        f"  {p['role']:26} {p['pss_mib']:6.1f} MiB PSS   {p['rss_mib']:6.1f} MiB RSS   {p['cpu_percent'] or 0:5.2f} % CPU" for p in rows
    ]
    return [*text, f"  {'whole device':26} {figures['sum_pss_mib']:6.1f} MiB PSS"]
