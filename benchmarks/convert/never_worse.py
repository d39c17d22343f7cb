"""Of every model of the corpus the bundle that a plain build lets out, measured afresh against its source: is it larger or slower? None is
forced out, so none may be. Beside it what ONNX Runtime's own tools write of the same files with exit status 0.

Slower is what two timings apart both show: in turn with the source, the low end of the interval beyond the gate's tolerance.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.convert.cases import cases
from benchmarks.convert.corpus import JOBS, RIGHT_DB, RIGHT_SHARE, Subject, likeness, silent, subject
from benchmarks.convert.files import table
from benchmarks.convert.rivals import WAYS, made
from converters.convert import convert
from converters.gate import LARGER_BY, LARGER_BYTES, SLOWER_BY
from converters.isolate import JobServer
from converters.recipe import Recipe
from converters.timing import Ratio, ratio
from converters.translate import Asked
from edge_agent.bundle.archive import read_bundle
from edge_agent.errors import EdgeError, ModelError

BOARD = "generic-x86-64"
TIMING_S = 1.0
OURS = "edge-convert build"


def measure() -> dict[str, object]:
    """By model a record for each way: ``error`` where there is no file; else ``bytes``, ``source_bytes``, the ``times`` of the source's
    latency it takes (median), and what is bad of it: ``larger``, ``slower``, ``broken``, ``wrong``."""
    with tempfile.TemporaryDirectory(prefix="edge-worse-") as name, JobServer() as server:
        folder = Path(name)
        with ThreadPoolExecutor(JOBS) as pool:
            subjects = list(pool.map(lambda case: subject(case, folder, server), cases(folder)))
        return {one.case.name: _measured(one, folder, server) for one in subjects}  # one after another: the clock wants quiet


def _measured(one: Subject, folder: Path, server: JobServer) -> dict[str, Any]:
    files: dict[str, Path] = {}
    records: dict[str, dict[str, Any]] = {}
    ours, records[OURS] = _ours(one, folder, server)
    if ours is not None:
        files[OURS] = ours
    if one.case.model.suffix == ".onnx":
        for at, way in enumerate(WAYS):
            path = folder / f"{one.case.model.stem}-{at}.onnx"
            error = made(way, one.case.model, one.case.samples, path, min(one.rows[0], 64))
            records[way] = {"error": error} if error else {}
            if not error:
                files[way] = path
    _weigh(one, files, records)
    return records


def _ours(one: Subject, folder: Path, server: JobServer) -> tuple[Path | None, dict[str, Any]]:
    recipe = Recipe("m", "1", (BOARD,), calibration=64, evaluation=512, weights="inside")
    out = folder / f"{one.case.name}.edgemodel"
    try:
        outcome = convert(Asked(str(one.case.model)), one.case.samples, recipe, out, silent, jobs=JOBS, server=server)
    except EdgeError as error:
        return None, {"error": str(error)}
    if outcome.written is None:
        return None, {"error": "refused: " + "; ".join(outcome.reasons)}
    manifest, files = read_bundle(out)
    path = folder / f"{one.case.name}-ours.{manifest.model_file.path.rpartition('.')[2]}"
    path.write_bytes(files[manifest.model_file.path])
    return path, {"scheme": outcome.tree["chosen"]}


def _weigh(one: Subject, files: dict[str, Path], records: dict[str, dict[str, Any]]) -> None:
    """Adds to the records what their files turn out to be."""
    running: list[str] = []
    for way, path in files.items():
        size, before = path.stat().st_size, one.case.model.stat().st_size
        records[way].update(bytes=size, source_bytes=before, larger=size > max(before * LARGER_BY, before + LARGER_BYTES))
        try:
            proof = one.workshop.prove("made", path.read_bytes(), path.suffix[1:], one.rows)
        except ModelError as error:
            records[way]["broken"] = str(error)[:160]
            continue
        sqnr_db, same = likeness(one.answers, proof)
        records[way].update(sqnr_db=sqnr_db, same=same, wrong=sqnr_db < RIGHT_DB and same < RIGHT_SHARE)
        running.append(way)
    first, second = (_speeds(one, [files[way] for way in running]) for _ in range(2))
    for way, a, b in zip(running, first, second, strict=True):
        records[way].update(times=(a.median + b.median) / 2, slower=min(a.low, b.low) > SLOWER_BY)


def _speeds(one: Subject, paths: list[Path]) -> list[Ratio]:
    if not paths:
        return []
    source, *rounds = one.workshop.time([one.answers.path, *paths], one.rows[:8], budget_s=TIMING_S)
    return [ratio(spent, source) for spent in rounds]


def bad(record: dict[str, Any]) -> list[str]:
    """What a file let out is that it must not be, in words."""
    found = [f"does not run ({record['broken']})"] if "broken" in record else []
    if record.get("larger"):
        found.append(f"larger: {record['bytes']} bytes against {record['source_bytes']}")
    if record.get("slower"):
        found.append(f"slower: {record['times']:.2f} times the source's latency")
    if record.get("wrong"):
        found.append(f"answers something else ({record['sqnr_db']:.1f} dB)")
    return found


def lines(figures: dict[str, Any]) -> list[str]:
    rows = [["way", "models", "files", "larger", "slower", "do not run", "wrong", "smaller, median", "faster, median"]]
    told = []
    for way in (OURS, *WAYS):
        records = {model: ways[way] for model, ways in figures.items() if way in ways}
        files = [r for r in records.values() if "bytes" in r]
        counts = [sum(bool(r.get(key)) for r in files) for key in ("larger", "slower", "broken", "wrong")]
        smaller = sorted(r["source_bytes"] / r["bytes"] for r in files)
        faster = sorted(1 / r["times"] for r in files if "times" in r)
        medians = [f"{of[len(of) // 2]:.2f}x" if of else "-" for of in (smaller, faster)]
        rows.append([way, str(len(records)), str(len(files)), *map(str, counts), *medians])
        told += [f"  {way}: {model}: {'; '.join(bad(r))}" for model, r in records.items() if bad(r)]
        told += [f"  {way}: {model}: no file: {r['error'][:160]}" for model, r in records.items() if r.get("error")]
    schemes = Counter(ways[OURS].get("scheme") or "no file" for ways in figures.values())
    return [*table(rows), "  ours are: " + ", ".join(f"{count} {scheme}" for scheme, count in schemes.most_common()), *told]
