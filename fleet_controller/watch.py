"""A live table of the fleet as telemetry arrives: redrawn in place on a terminal, one line per message elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from typing import TextIO

from edge_agent.clock import Clock, monotonic_s
from edge_agent.protocol.messages import EventMessage, MetricsMessage, PipelineMetrics, ResultMessage, StatusMessage
from fleet_controller.hear import Heard
from fleet_controller.inventory import Device
from fleet_controller.selector import Selector
from fleet_controller.session import FleetSession
from fleet_controller.table import clean, number, table

HEAD = ("device", "state", "model", "update", "Hz", "p50 ms", "p95 ms", "p99 ms", "board cpu %", "PSS MiB", "temp C", "queued", "seen")
_REDRAW_S = 0.5
_STAGE = "total"


def rows(device: Device, now_ns: int) -> list[tuple[str, ...]]:
    """The lines of one device: one per pipeline, or per model when it runs no pipeline; what is unknown is ``-``."""
    metrics = device.metrics
    pipelines = metrics.pipelines if metrics else ()
    served = [_pipeline_cells(device, p) for p in pipelines] or [_model_cells(m.name, m.version, m.update) for m in device.status.models]
    board = _board_cells(metrics)
    seen = "-" if device.heard_ns is None else f"{max(0.0, (now_ns - device.heard_ns) / 1e9):.0f} s"
    first, *others = served or [("-",) * 6]
    blank = ("",) * (len(board) + 1)
    return [(device.id, device.state, *first, *board, seen), *(("", "", *cells, *blank) for cells in others)]


def _pipeline_cells(device: Device, pipeline: PipelineMetrics) -> tuple[str, ...]:
    entry = device.model(pipeline.model)
    latency = pipeline.latency.get(_STAGE)
    times = (latency.p50_us, latency.p95_us, latency.p99_us) if latency and latency.count else (None, None, None)
    update = entry.update if entry else "-"
    return (
        f"{pipeline.model}@{pipeline.version}",
        update,
        number(pipeline.rate_hz),
        *(number(None if t is None else t / 1e3, 2) for t in times),
    )


def _model_cells(name: str, version: str, update: str) -> tuple[str, ...]:
    return (f"{name}@{version}", update, "-", "-", "-", "-")


def _board_cells(metrics: MetricsMessage | None) -> tuple[str, ...]:
    if metrics is None:
        return ("-",) * 4
    known = [p.pss_mib for p in metrics.processes if p.pss_mib is not None]
    pss = number(sum(known)) if known else "-"
    return (number(metrics.board.cpu_percent), pss, number(metrics.board.temperature_c), str(metrics.outbox_queued))


class Watch:
    """Shows what a connected session hears. ``out`` is a terminal or not; ``as_json`` prints one object per message instead."""

    def __init__(self, session: FleetSession, selector: Selector, clock: Clock, out: TextIO, *, as_json: bool, in_place: bool) -> None:
        self._session = session
        self._selector = selector
        self._clock = clock
        self._out = out
        self._as_json = as_json
        self._in_place = in_place and not as_json
        self._height = 0
        self._drawn_s = 0.0

    def once(self, patience_s: float) -> None:
        """One table, as soon as every connected device has sent metrics or ``patience_s`` is over."""
        deadline_s = monotonic_s(self._clock) + patience_s
        while monotonic_s(self._clock) < deadline_s and not all(d.metrics for d in self._devices() if d.online):
            self._session.next(0.2)
        if self._as_json:
            for device in self._devices():
                self._print(json.dumps(asdict(device)))
        else:
            self._print(self._table())

    def run(self, stop: Callable[[], bool]) -> None:
        """Until ``stop()``."""
        if not self._as_json and not self._in_place:
            self._print(self._table())
        while not stop():
            self._draw()
            heard = self._session.next(0.2)
            if heard is not None:
                self._show(heard[0])
        self._draw(last=True)

    def saw_anybody(self) -> bool:
        return bool(self._devices())

    def _devices(self) -> tuple[Device, ...]:
        return tuple(d for d in self._session.inventory.devices() if self._selector.matches(d))

    def _table(self) -> str:
        now_ns = self._clock.monotonic_ns()
        return table(HEAD, [row for device in self._devices() for row in rows(device, now_ns)])

    def _show(self, message: Heard) -> None:
        device = self._session.inventory.get(message.device)
        if self._in_place or device is None or not self._selector.matches(device):
            return
        if self._as_json:
            kind = type(message).__name__.removesuffix("Message").lower()
            self._print(json.dumps({"kind": kind, **asdict(message)}))
        else:
            self._print(_lines(message, device, self._clock.monotonic_ns()))

    def _draw(self, *, last: bool = False) -> None:
        now_s = monotonic_s(self._clock)
        drawn_s_ago = now_s - self._drawn_s if self._height else _REDRAW_S
        if not self._in_place or (drawn_s_ago < _REDRAW_S and not last):
            return
        self._drawn_s = now_s
        text = _fit(self._table())
        up = f"\x1b[{self._height}A" if self._height else ""
        self._print(up + "\x1b[J" + text)
        self._height = text.count("\n") + 1

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _lines(message: Heard, device: Device, now_ns: int) -> str:
    """A message as plain lines."""
    if isinstance(message, MetricsMessage):
        return "\n".join(_metrics_line((device.id, *row[1:])) for row in rows(device, now_ns))
    if isinstance(message, StatusMessage):
        models = ", ".join(f"{m.name}@{m.version} {m.state}" for m in message.models)
        return clean(f"{message.device}  {message.state}  {models}".rstrip())
    if isinstance(message, EventMessage):
        return clean(f"{message.device}  {message.level}  {message.kind}: {message.message}")
    assert isinstance(message, ResultMessage)
    return clean(f"{message.device}  {message.kind} {message.id}: {message.status} {message.reason}".rstrip())


def _metrics_line(row: tuple[str, ...]) -> str:
    """A table row that reads without its head: ``press-1  online  digits@2.0.0  Hz 100.0  p50 ms 0.41 ...``."""
    told = [(name, clean(cell)) for name, cell in zip(HEAD, row, strict=True) if cell not in ("", "-") and name != "seen"]
    return "  ".join(cell if name in HEAD[:3] else f"{name} {cell}" for name, cell in told)


def _fit(text: str) -> str:
    """Cut to the terminal: a line that wraps could not be drawn over."""
    size = shutil.get_terminal_size()
    return "\n".join(line[: size.columns - 1] for line in text.split("\n")[: max(2, size.lines - 1)])
