"""Clients that load a server, each a process of its own, and what became of every request."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.inference.nets import Net
from benchmarks.inference.requests import infer_request
from benchmarks.inference.server import Server

JOIN_TIMEOUT_S = 60.0
WARM = 30


@dataclass(eq=False)
class Outcome:
    """All clients together. Arrays in the order the requests began: ``started_ns`` on the monotonic clock, ``took_ns``, ``good``."""

    started_ns: Any
    took_ns: Any
    good: Any
    answers: Counter[bytes] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.good)

    @property
    def failed(self) -> int:
        return int(self.count - self.good.sum())

    def quantile_us(self, share: float) -> float:
        """Of those that went well; NaN when none did."""
        took = self.took_ns[self.good]
        return float(np.quantile(took, share)) / 1000 if len(took) else float("nan")

    def slowest_ms(self) -> float:
        return float(self.took_ns.max()) / 1e6 if self.count else float("nan")


@dataclass
class Load:
    """Clients that wait for :meth:`begin`; :meth:`end` stops them and says how it went. Answers are told apart by their last bytes."""

    _processes: list[subprocess.Popen[str]]
    _outs: list[Path]
    pids: list[int] = field(default_factory=list)

    def begin(self) -> None:
        for process in self._processes:
            _tell(process)

    def end(self, *, early: bool = True) -> Outcome:
        """With ``early`` they end after the request each is at; else each after its seconds."""
        if early:
            for process in self._processes:
                _tell(process)
        said = [json.loads(_line(process)) for process in self._processes]
        for process in self._processes:
            process.wait(JOIN_TIMEOUT_S)
        rows = np.concatenate([np.frombuffer(out.read_bytes(), np.int64).reshape(-1, 3) for out in self._outs])
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        answers: Counter[bytes] = Counter()
        for one in said:
            answers.update({bytes.fromhex(tail): count for tail, count in one["tails"].items()})
        reasons = list(dict.fromkeys(reason for one in said for reason in one["reasons"]))
        return Outcome(rows[:, 0], rows[:, 1], rows[:, 2].astype(bool), answers, reasons)


@contextmanager
def load(
    server: Server, net: Net, *, clients: int = 1, seconds: float = 0.0, timeout_s: float = 10.0, rate_hz: float = 0.0, model: str = ""
) -> Iterator[Load]:
    """``clients`` processes, warmed up, that ask for ``net`` flat out or at ``rate_hz`` each; JSON where the server takes no bytes."""
    with TemporaryDirectory(prefix="edge-load-") as name:
        folder = Path(name)
        (folder / "request").write_bytes(infer_request(net, model=model, binary=server.binary))
        order = {"port": server.port, "request": str(folder / "request"), "timeout_s": timeout_s, "rate_hz": rate_hz}
        order |= {"tail_bytes": net.classes * 4 if server.binary else 0, "seconds": seconds, "warm": WARM}
        (folder / "order.json").write_text(json.dumps(order))
        outs = [folder / f"{index}.bin" for index in range(clients)]
        processes = [_start(folder / "order.json", out) for out in outs]
        try:
            for process in processes:
                _line(process)
            yield Load(processes, outs, [process.pid for process in processes])
        finally:
            for process in processes:
                process.kill()
                process.wait()
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        stream.close()


def outcome(server: Server, net: Net, *, clients: int, seconds: float, timeout_s: float = 10.0) -> Outcome:
    """One load of ``seconds``, from its beginning to its end."""
    with load(server, net, clients=clients, seconds=seconds, timeout_s=timeout_s) as running:
        running.begin()
        return running.end(early=False)


def outage_ms(found: Outcome, since_ns: int, until_ns: int) -> float:
    """The longest time without a good answer that touches [``since_ns``, ``until_ns``]; what no answer ended lasts until then."""
    ends = np.sort((found.started_ns + found.took_ns)[found.good])
    first, last = int(np.searchsorted(ends, since_ns)), int(np.searchsorted(ends, until_ns))
    before = ends[first - 1] if first else since_ns
    after = ends[last] if last < len(ends) else min(until_ns, int((found.started_ns + found.took_ns).max()))
    return float(np.diff([before, *ends[first:last], after]).max()) / 1e6


def quantiles(values: Sequence[float], *shares: float) -> list[float]:
    """NaN for each when there are none."""
    return [float(np.quantile(values, share)) if len(values) else float("nan") for share in shares]


def _start(order: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.inference.programs.client", str(order), str(out)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write("\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a client ended with {process.wait()}")
    return line
