"""A benchmark for people: a table of at most 100 columns, and what must be known about it below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from edge_agent.bench import BenchResult, OpTime
from edge_agent.runtimes.tune import Choice, describe

_MOST_NODES = 15
_TIMES = ("p50 us", "p95 us", "p99 us", "cpu us")
_HEAD = f"{'model':22} {'thr':>3} {'init ms':>8} {' '.join(f'{name:>9}' for name in _TIMES)} {'init MiB':>8} {'peak':>6} {'ratio':>6}"


def table(results: Sequence[BenchResult]) -> list[str]:
    """A line for each result and its remarks; ``init MiB`` is what loading added to the process, ``peak`` all of it at its largest."""
    return [_HEAD, *(_row(r) for r in results), *_remarks(results), *(line for r in results for line in _operators(r))]


def _row(r: BenchResult) -> str:
    mark = "!" if r.disturbed_rounds else " "
    return (
        f"{_short(r.file, 22)} {r.threads:>3} {r.init_ms:8.1f} {_us(r.p50_us)} {_us(r.p95_us)} {_us(r.p99_us)} {_us(r.cpu_us)} "
        f"{r.loaded_mib - r.base_mib:8.1f} {r.peak_rss_mib:6.1f} {r.ratio:6.2f}{mark}"
    )


def _us(value: float) -> str:
    return f"{value:9.1f}" if value < 100_000 else f"{value:9.0f}"


def _short(text: str, width: int) -> str:
    """The end of a long name says more than its beginning."""
    return f"{text:{width}}" if len(text) <= width else "~" + text[-width + 1 :]


def _remarks(results: Sequence[BenchResult]) -> list[str]:
    lines = []
    for r in results:
        facts = f"{r.runs} runs on {r.inputs} inputs, first {r.first_us:.0f} us, mean {r.mean_us:.1f} us, max {r.max_us:.0f} us"
        lines += _wrapped(f"{_short(r.file, 22)} {r.runtime} {r.runtime_version}, {r.file_bytes / 1000:.1f} kB, {facts}")
        if r.disturbed_rounds:
            lines += _wrapped(f"! {r.disturbed_rounds} of {r.rounds} rounds were disturbed: {', '.join(r.disturbed)}")
        lines += [line for note in r.notes for line in _wrapped(note)]
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="  ", subsequent_indent="    ")


def _operators(r: BenchResult) -> list[str]:
    if r.ops_note:
        return ["", *_wrapped(f"{_short(r.file, 40).strip()}: {r.ops_note}")]
    if not r.ops:
        return []
    kinds, nodes = [op for op in r.ops if not op.node], [op for op in r.ops if op.node]
    whole_us = sum(op.us for op in kinds) or 1.0
    lines = ["", f"{_short(r.file, 40)} by operator, profiled apart", *(_share(op, f"{op.op} x{op.count}", whole_us) for op in kinds)]
    lines += ["  slowest nodes", *(_share(op, f"{op.op}  {op.node}", whole_us) for op in nodes[:_MOST_NODES])]
    return lines


def _share(op: OpTime, text: str, whole_us: float) -> str:
    return f"  {op.us:10.1f} us {100 * op.us / whole_us:5.1f} %  {text}"[:100]


def tuning_table(name: str, choice: Choice) -> list[str]:
    """What was tried, beside what the trial began with, and what to run the model with."""
    first = choice.tried[0]
    lines = [f"{_short(name, 46)} {'p50 us':>9} {'cpu us':>9} {'own MiB':>8} {'speed':>7}"]
    for tried in choice.tried:
        mark = "*" if tried.options == choice.options else " "
        lines.append(
            f"{mark} {describe(tried.options):44.44} {_us(tried.p50_us)} {_us(tried.cpu_us)} {tried.own_mib:8.1f} "
            f"{first.p50_us / tried.p50_us:6.2f}x"
        )
    return [*lines, *_wrapped(f"chosen: {describe(choice.options)} ({choice.reason})")]
