"""Every model of the corpus into both formats in four number formats: is what is let out a file that loads, runs and answers like its
source in every runtime that its boards name; is the source untouched; are the bytes the same a second time?

What is let out is judged anew from its bundle, in processes of their own, by arithmetic of this file. A refusal with its reason is no
failure.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert.cases import Case, cases
from converters.convert import Outcome, convert
from converters.errors import InputError
from converters.isolate import JobServer
from converters.npz import NpzFile
from converters.opening import open_source
from converters.proofs import agrees
from converters.recipe import Recipe
from converters.tools.environments import find, runtime_tool
from converters.translate import Asked
from converters.workshop import Proof, Workshop
from edge_agent.bundle.archive import read_bundle, sha256_file
from edge_agent.errors import EdgeError, ModelError

SCHEMES = ("int8", "weights8", "float16", "float32")
OLD = ("tflite-runtime", "2.14.0")
BOARDS = {"onnx": "generic-x86-64", "tflite": "generic-x86-64", "tflite old": "generic-armv7"}
"""The last one names the old runtime; it takes the place of the second where that runtime is at hand."""
RIGHT_DB, RIGHT_SHARE = 20.0, 0.97
"""A file is wrong when it reaches neither: signal to noise, nor the share of samples with the same strongest output."""
ROWS = 64
JOBS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A case with the source's own answers on the first ``rows`` that took no part in calibration."""

    case: Case
    workshop: Workshop
    rows: tuple[int, ...]
    answers: Proof


def measure() -> dict[str, object]:
    """``conversions``: a record each (see :func:`tried`); ``runtimes``: those that files were put to."""
    old = find(runtime_tool(*OLD))
    with tempfile.TemporaryDirectory(prefix="edge-corpus-") as name, ProcessPoolExecutor(JOBS, get_context("spawn")) as pool:
        folder = Path(name)
        found = cases(folder)
        parts = list(pool.map(_part, [found[at::JOBS] for at in range(JOBS)], [folder] * JOBS, [old] * JOBS))
    order = {case.name: at for at, case in enumerate(found)}
    records = sorted((record for part in parts for record in part), key=lambda record: order[record["model"]])
    return {"models": len(found), "old_runtime": old is not None, "conversions": records}


def _part(found: list[Case], folder: Path, old: Path | None) -> list[dict[str, Any]]:
    """Some of the cases, one after another in a process of its own: most of a conversion is Python."""
    records = []
    with JobServer() as server:
        for case in found:
            one = subject(case, folder, server)
            records += [tried(one, target, scheme, server, old) for target in ("onnx", "tflite") for scheme in SCHEMES]
    return records


def subject(case: Case, folder: Path, server: JobServer) -> Subject:
    """Runs the source itself."""
    room = Path(tempfile.mkdtemp(prefix="case-", dir=folder))
    workshop = Workshop(room, case.samples, (), server=server)
    source = open_source(Asked(str(case.model)), workshop, room, silent, passes=False)
    held = NpzFile(case.samples)
    count = next(head.shape[0] for name, head in held.heads.items() if name not in ("labels", "calibrate"))
    first = held.heads["calibrate"].shape[0]
    rows = tuple(range(first, min(count, first + ROWS)))
    return Subject(case, workshop, rows, workshop.prove("original", source.data, source.format, rows))


def tried(one: Subject, target: str, scheme: str, server: JobServer, old: Path | None) -> dict[str, Any]:
    """``status`` as the command's; for what was let out also bytes, ``sqnr_db``, ``same`` (share of equal strongest outputs), the reason in
    each runtime (empty: fine), ``again`` (same bytes) and ``kept`` (the source's hash)."""
    before = sha256_file(one.case.model)
    board = BOARDS["tflite old" if target == "tflite" and old else target]
    recipe = Recipe("m", "1", (board,), target, scheme, calibration=64, evaluation=ROWS, search=False, force=True, weights="inside")
    with tempfile.TemporaryDirectory(prefix="edge-corpus-") as name:
        out = Path(name) / "m.edgemodel"
        status, reason = _converted(one.case, recipe, out, server)
        record: dict[str, Any] = {"model": one.case.name, "target": target, "scheme": scheme, "status": status, "reason": reason}
        if status == 0:
            first = sha256_file(out)
            record.update(_judged(one, out, target, scheme, old))
            out.unlink()
            record["again"] = _converted(one.case, recipe, out, server)[0] == 0 and sha256_file(out) == first
    record["kept"] = sha256_file(one.case.model) == before
    return record


def _converted(case: Case, recipe: Recipe, out: Path, server: JobServer) -> tuple[int, str]:
    """The exit status that the command would give, and why."""
    try:
        outcome: Outcome = convert(Asked(str(case.model)), case.samples, recipe, out, silent, jobs=1, server=server)
    except InputError as error:
        return 2, str(error)
    except EdgeError as error:
        return 1, str(error)
    return (0, "") if outcome.written else (3, "; ".join(outcome.reasons))


def _judged(one: Subject, out: Path, target: str, scheme: str, old: Path | None) -> dict[str, Any]:
    manifest, files = read_bundle(out)
    data = files[manifest.model_file.path]
    try:
        here = one.workshop.prove("let out", data, target, one.rows)
    except ModelError as error:
        return {"bytes": len(data), "runtimes": {target: str(error)}}
    sqnr_db, same = likeness(one.answers, here)
    wrong = "" if sqnr_db >= RIGHT_DB or same >= RIGHT_SHARE else f"answers something else ({sqnr_db:.1f} dB, {100 * same:.0f} % the same)"
    runtimes = {f"{here.runtime} {here.version}": wrong}
    if target == "tflite" and old is not None:
        runtimes[" ".join(OLD)] = _in_old(one, here, data, old, quantized=scheme == "int8")
    return {"bytes": len(data), "sqnr_db": sqnr_db, "same": same, "runtimes": runtimes}


def _in_old(one: Subject, here: Proof, data: bytes, old: Path, *, quantized: bool) -> str:
    try:
        return agrees(here, one.workshop.prove_in(old, "let out", data, "tflite", one.rows), quantized=quantized)
    except ModelError as error:
        return str(error)


def likeness(source: Proof, made: Proof) -> tuple[float, float]:
    """Signal to noise (dB) over all float outputs, and the share of samples whose strongest value of the first output is the same one."""
    signal = noise = 0.0
    for before, after in zip(source.outputs, made.outputs, strict=True):
        a, b = source.values[before.name].astype(np.float64), made.values[after.name].astype(np.float64)
        signal, noise = signal + float(np.square(a).sum()), noise + float(np.square(a - b).sum())
    first = source.values[source.outputs[0].name], made.values[made.outputs[0].name]
    tops = [array.reshape(len(array), -1).argmax(1) for array in first]
    same = float((tops[0] == tops[1]).mean()) if first[0][0].size > 1 else 0.0
    return float(10 * np.log10(max(signal, 1e-30) / max(noise, 1e-12 * max(signal, 1e-18)))), same


def failures(record: dict[str, Any]) -> list[str]:
    """What must not be, in words."""
    found = [] if record["kept"] else ["the source was changed"]
    if record["status"] not in (0, 3) and not record["reason"]:
        found.append("ended without a reason")
    if record["status"] == 1:
        found.append(f"failed: {record['reason']}")
    if record["status"] == 0:
        found += [f"{runtime}: {why}" for runtime, why in record["runtimes"].items() if why]
        found += [] if record["again"] else ["other bytes the second time"]
    return found


def lines(figures: dict[str, Any]) -> list[str]:
    records = figures["conversions"]
    counted = Counter("let out" if r["status"] == 0 else "refused" if r["status"] in (2, 3) else "failed" for r in records)
    bad = [(r, why) for r in records for why in failures(r)]
    lowest = min((r["sqnr_db"] for r in records if "sqnr_db" in r and r["same"] < 1), default=0.0)
    ran = Counter(runtime for r in records for runtime, why in r.get("runtimes", {}).items() if not why)
    return [
        f"  {len(records)} conversions of {figures['models']} models: {counted['let out']} let out, {counted['refused']} refused with a "
        f"reason, {len({id(r) for r, _ in bad})} failures",
        "  right in: " + ", ".join(f"{runtime} {count}" for runtime, count in sorted(ran.items())),
        *([] if figures["old_runtime"] else [f"  {' '.join(OLD)}: not at hand (edge-convert tools add {'-'.join(OLD)})"]),
        f"  lowest signal to noise where not every strongest output is the same: {lowest:.1f} dB",
        f"  same bytes twice: {sum(r.get('again', False) for r in records)} of {counted['let out']}; "
        f"sources untouched: {sum(r['kept'] for r in records)} of {len(records)}",
        *(f"  failure: {r['model']} {r['target']} {r['scheme']}: {why}" for r, why in bad),
        *_refusals(records),
    ]


def _refusals(records: list[dict[str, Any]]) -> list[str]:
    """One line for each reason and model."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for r in records:
        if r["status"] in (2, 3):
            grouped.setdefault((r["model"], _short(r["reason"])), []).append(f"{r['target']} {r['scheme']}")
    return [f"  refused: {model} to {', '.join(where)}: {why}" for (model, why), where in grouped.items()]


def _short(reason: str) -> str:
    """Without the name of the scheme in front and the advice behind."""
    first = reason.split(";")[0]
    for scheme in SCHEMES:
        for target in ("onnx", "tflite"):
            first = first.removeprefix(f"{target}-{scheme} ").removeprefix(f"{target}-{scheme}: ")
    return first[:160]


def silent(text: str, part: float | None = None) -> None:
    """Progress is of no interest here."""
