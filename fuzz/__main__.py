"""``python -m fuzz --cases 100000``: prints what happened, keeps every offending file; exit status 1 when there is a finding."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from fuzz.campaign import Campaign, Tally
from fuzz.seeds import all_seeds

PROGRESS_S = 10.0


def main(arguments: list[str] | None = None) -> int:
    given = _arguments(arguments)
    seeds = [item for item in all_seeds(given.assets) if not given.kind or item.kind in given.kind]
    print(f"{len(seeds)} whole files, {given.cases} cases from seed {given.seed}, {given.workers} workers", file=sys.stderr)
    start = time.monotonic()
    told = start

    def tell(tally: Tally) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            done = sum(tally.counts.values())
            print(f"{done} cases in {told - start:.0f} s: {_line(tally)}", file=sys.stderr, flush=True)

    campaign = Campaign(seeds, given.seed, workers=given.workers, limit_s=given.limit_s, keep=given.keep)
    tally = campaign.run(given.cases, first=given.first, tell=tell)
    took_s = time.monotonic() - start
    if given.json:
        tree = {"cases": given.cases, "seed": given.seed, "seconds": round(took_s, 1), "slowest_s": round(tally.slowest_s, 2)}
        print(json.dumps({**tree, "counts": dict(sorted(tally.counts.items())), "by_kind": dict(sorted(tally.by_kind.items()))}, indent=2))
    else:
        _print(tally, took_s, given.keep)
    return 1 if tally.findings else 0


def _print(tally: Tally, took_s: float, keep: Path) -> None:
    for number, word, said in tally.kept[:40]:
        print(f"{word} in case {number}: {said.strip().splitlines()[-1][:200] if said.strip() else ''}")
    print(f"{sum(tally.counts.values())} cases in {took_s:.0f} s, the slowest {tally.slowest_s:.1f} s: {_line(tally)}")
    print(f"{tally.findings} findings" + (f"; files in {keep}" if tally.kept else ""))


def _line(tally: Tally) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(tally.counts.items()))


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case: to try one again, with --cases 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit-s", type=float, default=20.0, help="a case that takes longer is a finding")
    parser.add_argument("--kind", action="append", help="only this kind of file (onnx, tflite, npz, bundle, toml, pmml)")
    parser.add_argument("--assets", type=Path, default=None, help="a folder with more model files to start from")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-out"), help="where offending files go")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
