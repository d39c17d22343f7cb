"""A GPIO line that is on while a prediction holds: a lamp, a relay, an input of a PLC."""

from __future__ import annotations

import errno
import threading
from collections.abc import Mapping
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import SinkError
from edge_agent.sinks.gpio_line import Device, GpioLine, KernelDevice
from edge_agent.sinks.gpio_rule import LineRule
from edge_agent.values import Prediction


def open_sink(
    name: str, options: Mapping[str, Any], publish: object = None, *, device: Device | None = None, clock: Clock | None = None
) -> GpioSink:
    """A line as the checked ``options`` say: chip, line, labels and min_score, active_low (false), pulse_ms (0: none), hold_ms (0)."""
    rule = LineRule(
        options.get("labels", ()),
        options.get("min_score"),
        pulse_ns=int(float(options.get("pulse_ms", 0)) * 1e6),
        hold_ns=int(float(options.get("hold_ms", 0)) * 1e6),
    )
    return GpioSink(
        name,
        str(options["chip"]),
        options["line"],
        rule,
        active_low=bool(options.get("active_low", False)),
        device=device or KernelDevice(),
        clock=clock or SystemClock(),
    )


class GpioSink:
    """The line is requested, off, when the sink is made, and off when it is closed. The kernel is asked only when the line changes.

    Lines that go off by themselves do so on a thread, which begins with the first time that is needed.
    """

    def __init__(self, name: str, chip: str, line: int | str, rule: LineRule, *, active_low: bool, device: Device, clock: Clock) -> None:
        self.name = name
        self._chip, self._number, self._active_low, self._device, self._clock = chip, line, active_low, device, clock
        self._rule = rule
        self._line: GpioLine | None = None
        self._on = False
        self._closed = False
        self._changed = threading.Condition()
        self._awaits_fall = False
        self._thread: threading.Thread | None = None
        try:
            self._request()
        except OSError:  # told with the first prediction, and tried again with each
            pass

    def emit(self, prediction: Prediction) -> None:
        with self._changed:
            on = self._rule.see(prediction, self._clock.monotonic_ns())
            try:
                self._drive(on)
            except OSError as error:
                self._give_back()
                reason = "it is not a GPIO chip" if error.errno == errno.ENOTTY else error.strerror or error
                raise SinkError(f"sink {self.name}: {self._chip}, line {self._number}: cannot be driven ({reason})") from error
            if on and self._rule.falls_ns() is not None and not self._awaits_fall:
                self._awaits_fall = True
                self._wake()

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Off, and given back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            try:
                if self._line is not None:
                    self._line.set(False)
            except OSError:
                pass
            self._give_back()

    def _drive(self, on: bool) -> None:
        if self._line is None:
            self._request(on)
        elif on != self._on:
            self._line.set(on)
        self._on = on

    def _request(self, on: bool = False) -> None:
        self._line = GpioLine(self._device, self._chip, self._number, active_low=self._active_low, consumer=self.name, active=on)

    def _give_back(self) -> None:
        line, self._line, self._on = self._line, None, False
        if line is not None:
            try:
                line.close()
            except OSError:
                pass

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._let_fall, name="gpio-fall", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _let_fall(self) -> None:
        """Turn the line off when its time has come."""
        with self._changed:
            while not self._closed:
                now_ns = self._clock.monotonic_ns()
                falls_ns = self._rule.falls_ns() if self._awaits_fall else None
                if falls_ns is None:
                    self._awaits_fall = False
                    self._changed.wait()
                elif now_ns < falls_ns:
                    self._changed.wait((falls_ns - now_ns) / 1e9)
                else:
                    self._awaits_fall = False
                    self._fall(now_ns)

    def _fall(self, now_ns: int) -> None:
        if self._line is None or self._rule.on(now_ns):
            return
        try:
            self._drive(False)
        except OSError:  # the next prediction asks for the line anew, and tells when that fails
            self._give_back()
