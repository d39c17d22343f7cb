"""What a swap of 42 MB takes in memory: of all processes together before, at most while, and after, sampled every few milliseconds.

Ours three ways: one file; weights in a file beside the model, laid out anew for the processor; and such weights left mapped
(``[[models]] mapped``). The file is the same each time, as it is when the peers load again; ``new weights`` is ours with two versions
that differ. PSS counts pages of mapped files, which the kernel can drop; what it cannot drop is anonymous memory, shown beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from benchmarks.convert.files import table
from benchmarks.inference.contenders import MLSERVER, MLSERVER_ALONE, TRITON, Contender, models_of, standing
from benchmarks.inference.loads import load
from benchmarks.inference.nets import NETS
from benchmarks.inference.processes import anonymous_kib, pss_kib
from benchmarks.inference.server import Server
from benchmarks.inference.stand import Order, Stand

NET = "big"
SWAPS, RELOADS = 100, 8
QUICK_SWAPS, QUICK_RELOADS = 8, 2
SETTLE_S = 3.0
SAMPLE_S = 0.004
RATE_HZ = 20.0
BETWEEN_S = 0.1
PEERS = (TRITON, MLSERVER, MLSERVER_ALONE)
OURS = {
    "edge-agent, one file": Order(NET, (("1", 0), ("2", 0))),
    "edge-agent, weights beside": Order(NET, (("1", 0), ("2", 0)), external=True),
    "edge-agent, weights mapped": Order(NET, (("1", 0), ("2", 0)), external=True, mapped=True),
    "edge-agent, weights mapped, new weights": Order(NET, (("1", 0), ("2", 1)), external=True, mapped=True),
}


class Watch:
    """The most that PSS and anonymous memory of a server were, in MiB, while the block ran."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.pss_mib = self.anonymous_mib = 0.0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_S):
            pss, anonymous = taken_mib(self._server)
            self.pss_mib, self.anonymous_mib = max(self.pss_mib, pss), max(self.anonymous_mib, anonymous)


def taken_mib(server: Server) -> tuple[float, float]:
    """PSS and anonymous memory of all its processes now.

    Processes are read one after the other, and what two of them share moves from one's account to the other's when one maps it or ends:
    pages would be counted twice. So they are read there and back again, and the smaller sum is the one in which nothing moved.
    """
    pids = server.pids()
    there, back = _sums(pids), _sums(pids[::-1])
    return min(there[0], back[0]), min(there[1], back[1])


def _sums(pids: Sequence[int]) -> tuple[float, float]:
    return sum(map(pss_kib, pids)) / 1024, sum(map(anonymous_kib, pids)) / 1024


def measure(*, quick: bool = False, ours: bool = True, peers: Sequence[Contender] = PEERS) -> dict[str, object]:
    """By server and kind of file: MiB before, at the peak and after; the peak's extra as times the model's bytes; what stayed."""
    swaps, reloads = (QUICK_SWAPS, QUICK_RELOADS) if quick else (SWAPS, RELOADS)
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for title, order in OURS.items() if ours else ():
        with TemporaryDirectory(prefix="edge-memory-") as name, Stand(Path(name) / "room", order) as stand:
            found[title] = _swapping(stand, swaps, _bytes(stand.room / "bundles" / "1"))
    for contender in peers:
        for external in (False, True):
            with models_of(NET, external=external) as models, standing([contender], models) as alone:
                absent.update(alone.absent)
                for title, server in alone.servers.items():
                    found[f"{title}, {'weights mapped' if external else 'one file'}"] = _swapping(
                        server, reloads, _bytes(models[NET].parent)
                    )
    return {"absent": absent, "servers": found}


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.name.startswith(("model.", f"{NET}.")))


def _swapping(server: Server, swaps: int, file_bytes: int) -> dict[str, Any]:
    with load(server, NETS[NET], rate_hz=RATE_HZ) as running:
        running.begin()
        time.sleep(SETTLE_S)
        before, before_anonymous = taken_mib(server)
        with Watch(server) as watch:
            for _ in range(swaps):
                server.reload(NET)
                time.sleep(BETWEEN_S)
        time.sleep(SETTLE_S)
        after, after_anonymous = taken_mib(server)
        failed = running.end().failed
    mib = file_bytes / (1 << 20)
    return {
        "swaps": swaps,
        "failed": failed,
        "file_mib": mib,
        "before_mib": before,
        "peak_mib": watch.pss_mib,
        "after_mib": after,
        "extra_times": (watch.pss_mib - before) / mib,
        "extra_anonymous_times": (watch.anonymous_mib - before_anonymous) / mib,
        "kept_mib": after - before,
        "kept_anonymous_mib": after_anonymous - before_anonymous,
    }


def lines(figures: dict[str, Any]) -> list[str]:
    text = [f"  {title}: {why}" for title, why in figures["absent"].items()]
    rows = [["server, file", "swaps", "failed", "before MiB", "peak", "after", "extra, times the file", "of it anonymous", "kept MiB"]]
    for title, f in figures["servers"].items():
        memory = [f"{f[key]:.1f}" for key in ("before_mib", "peak_mib", "after_mib")]
        extra = [f"{f['extra_times']:.2f}x", f"{f['extra_anonymous_times']:.2f}x", f"{f['kept_mib']:+.1f}"]
        rows.append([title, str(f["swaps"]), str(f["failed"]), *memory, *extra])
    return [*text, *table(rows)]
