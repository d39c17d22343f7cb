"""What a build tells a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.convert import Outcome


def built(outcome: Outcome) -> str:
    """The table of a build that wrote a bundle."""
    tree, written = outcome.tree, outcome.written
    assert written is not None
    item = next(c for c in tree["candidates"] if c["label"] == tree["chosen"])
    source = tree["source"]
    lines = [
        f"{tree['name']} {tree['version']} for {', '.join(tree['profiles'])}: {item['label']}",
        f"  {'':12}{'original':>12}{'bundle':>12}",
        *_quality(item, tree),
        f"  {'size':12}{_kb(source['bytes']):>12}{_kb(item['bytes']):>12}   {source['bytes'] / item['bytes']:.2f} times smaller",
        *_beside(item),
        *_latency(item, tree),
        f"  {'proof':12}{tree['evaluation_samples']} samples, signal to noise {_db(item['sqnr_db'])}, {tree['golden_cases']} golden cases",
        *([f"  {'proven in':12}{', '.join(item['proven_in'])}"] if len(item["proven_in"]) > 1 else []),
        f"  {'choice':12}{tree['why']}",
        *_calibration(tree),
        *(f"  {'note':12}{text}" for text in (*source["notes"], *item["notes"])),
        *(f"  {'forced':12}{text}" for text in item["overridden"]),
        f"  {'bundle':12}{written.bundle} ({_kb(written.bundle_bytes)}, sha256 {written.sha256[:16]}…)",
        f"  {'report':12}{written.html}",
        *([f"  {'front':12}{written.png}"] if written.png else []),
    ]
    return "\n".join(lines)


def _beside(item: Mapping[str, Any]) -> list[str]:
    size_bytes = item["bytes_beside"]
    return [f"  {'weights':12}{_kb(size_bytes)} of it beside the model, where a device can map them"] if size_bytes else []


def _latency(item: Mapping[str, Any], tree: Mapping[str, Any]) -> list[str]:
    if item["latency_us"] is None:
        return []
    before, after = tree["source"]["latency_us"]["median_us"], item["latency_us"]["median_us"]
    return [
        f"  {'latency':12}{_us(before):>12}{_us(after):>12}   {1 / item['latency_ratio']['median']:.2f} times as fast on this machine "
        f"({tree['measured_on']['machine']}, {item['runtime']} {item['runtime_version']}, one thread)"
    ]


def candidates(tree: Mapping[str, Any]) -> str:
    """The table of a search: every candidate, the front, and the choice."""
    rows = [("", "candidate", "kB", "loss", "noise", "latency", "")]
    rows += [(_mark(item, tree), item["label"], *_row(item), "; ".join(item["reasons"])) for item in tree["candidates"]]
    wide = max(len(row[1]) for row in rows)
    lines = []
    for mark, label, size, loss, noise, spent, why in rows:
        lines.append(f"{mark:2}{label:{wide}}{size:>10}{loss:>10}{noise:>10}{spent:>20}  {why}".rstrip())
    lines += [f"  {item['scheme']} {item['variant']}: not made: {item['reason']}" for item in tree["not_made"]]
    lines.append(f"* a build would pack this; + no other is better in size, latency and answers at once\n{tree['why']}")
    return "\n".join(lines)


def _mark(item: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    return "*" if item["label"] == tree["chosen"] else "+" if item["label"] in tree["pareto"] else ""


def _row(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    loss = "–" if item["drop"] is None else f"{100 * item['drop']:.2f}"
    spent = "–" if item["latency_us"] is None else f"{_us(item['latency_us']['median_us'])} ({1 / item['latency_ratio']['median']:.2f}x)"
    return f"{item['bytes'] / 1000:.1f}", loss, _db(item["sqnr_db"]), spent


def refused(outcome: Outcome) -> str:
    """Every reason of a refusal."""
    what = f"refused, the report is in {outcome.reports[0]}:" if outcome.reports else "refused, nothing was written:"
    return "\n".join([what, *(f"  {reason}" for reason in outcome.reasons)])


def _quality(item: Mapping[str, Any], tree: Mapping[str, Any]) -> list[str]:
    if item["drop"] is None:
        return []
    allowed = 100 * tree["limits"]["max_drop"]
    interval = f"95 % interval of the loss {100 * item['drop_low']:.2f} to {100 * item['drop_high']:.2f}, allowed {allowed:.2f}"
    if item["accuracy"] is None:
        return [
            f"  {'agreement':12}{'100 %':>12}{100 * item['agreement']:>10.2f} %   at most {_points(item['drop'])} ({interval})",
            *_threshold(item),
        ]
    before, after = 100 * item["original_accuracy"], 100 * item["accuracy"]
    name = item["measure"] if len(item["measure"]) < 12 else "F1"
    return [f"  {name:12}{before:>10.2f} %{after:>10.2f} %   {_points(item['drop'])} ({interval})", *_threshold(item)]


def _threshold(item: Mapping[str, Any]) -> list[str]:
    held = item["threshold"]
    if held is None:
        return []
    return [
        f"  {'threshold':12}{held['declared']:>12.4g}{held['derived']:>12.4g}   alarms on the same {100 * held['alarms']:.1f} % of samples"
    ]


def _calibration(tree: Mapping[str, Any]) -> list[str]:
    held = tree["calibration"]
    if not held["samples"]:
        return []
    rejected = ", ".join(f"row {r['row']} ({r['ratio']:.0f} times as wide as the median)" for r in held["rejected"][:5])
    more = f" and {len(held['rejected']) - 5} more" if len(held["rejected"]) > 5 else ""
    lines = [
        f"  {'calibration':12}{held['used']} of {held['samples']} samples"
        + (f"; left out as outliers: {rejected}{more}" if rejected else "")
    ]
    if tree["samples_shared"]:
        lines.append(f"  {'note':12}too few samples to keep some apart: calibration and evaluation used the same ones")
    return lines + ([f"  {'note':12}{held['note']}"] if held["note"] else [])


def _points(drop: float) -> str:
    return f"{100 * abs(drop):.2f} points {'gained' if drop < 0 else 'lost'}"


def _kb(count: int) -> str:
    return f"{count / 1000:.1f} kB"


def _us(us: float) -> str:
    return f"{us:.1f} µs" if us < 1000 else f"{us / 1000:.2f} ms"


def _db(value: float | None) -> str:
    return "none" if value is None else "exact" if value > 180 else f"{value:.1f} dB"
