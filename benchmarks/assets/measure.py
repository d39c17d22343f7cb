"""Every published model through the whole engine, and the figure that it must keep: ``python -m benchmarks assets [--assets FOLDER]``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.assets import classifiers, detectors, formats, signals
from benchmarks.assets.case import Case, Figure, Refused
from benchmarks.assets.harm import harm
from benchmarks.assets.published import Published, published
from benchmarks.assets.stand import Stand, stand

HARM_DEADLINE_MS = 1000.0

CASES: tuple[Case, ...] = tuple(
    sorted((*classifiers.CASES, *signals.CASES, *detectors.CASES, *formats.CASES), key=lambda case: case.folder)
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what the asset's check found, what our predictions give (``None``: the engine refuses the model, see ``note``)."""

    asset: str
    figure: str
    check: float
    engine: float | None
    ok: bool
    note: str = ""


def assets_folder() -> Path:
    """``EDGE_ASSETS`` (what ``--assets`` sets), ``EDGE_ASSETS_DIR``, or ``../shared/assets`` beside the repository."""
    said = os.environ.get("EDGE_ASSETS") or os.environ.get("EDGE_ASSETS_DIR")
    return Path(said) if said else Path(__file__).resolve().parents[3] / "shared" / "assets"


def case_rows(case: Case, root: Path, on: Stand) -> tuple[Row, ...]:
    """The figures of one asset. Raises EdgeError when the engine does not do what the case asks, SystemExit when the check does not run."""
    folder = root / case.folder
    ours, known = case.run(on, folder), published(folder)
    missing = [each.figure for each in known if each.figure not in ours and each.figure not in case.apart]
    if missing:
        raise SystemExit(f"{case.folder}: nothing here gives {missing[0]!r}, which its check computes")
    return tuple(_row(case.folder, each, ours[each.figure]) for each in known if each.figure in ours)


def measure() -> dict[str, object]:
    """Every asset under :func:`assets_folder`, and whether hostile models harm another. Says so where there is no such folder."""
    root = assets_folder()
    if not root.is_dir():
        return {"absent": str(root)}
    with stand() as on:
        rows = [row for case in CASES if (root / case.folder).is_dir() for row in case_rows(case, root, on)]
    with stand(HARM_DEADLINE_MS) as on:
        harmed = harm(on, root)
    return {"assets": str(root), "rows": [asdict(row) for row in rows], "harm": [asdict(each) for each in harmed]}


def lines(result: dict[str, object]) -> list[str]:
    return list(_lines(result))


def _row(asset: str, known: Published, ours: Figure) -> Row:
    if not isinstance(ours, Refused):
        return Row(asset, known.figure, known.value, float(ours), known.kept(float(ours)))
    kept = ours.value is None or known.kept(ours.value + ours.count)
    return Row(asset, known.figure, known.value, ours.value, kept, f"refused: {ours.reason}")


def _lines(result: dict[str, object]) -> Iterator[str]:
    if "absent" in result:
        yield f"  {result['absent']} is not there: give --assets FOLDER or set EDGE_ASSETS"
        return
    rows, harmed = result["rows"], result["harm"]
    assert isinstance(rows, list) and isinstance(harmed, list)
    yield f"  {'asset':32s} {'figure':58s} {'its check':>10s} {'engine':>10s}"
    for row in rows:
        engine = "-" if row["engine"] is None else f"{row['engine']:.5f}"
        yield f"  {row['asset']:32s} {row['figure'][:58]:58s} {row['check']:10.5f} {engine:>10s}  {'ok' if row['ok'] else 'LOST'}"
        if row["note"]:
            yield f"  {'':32s} {row['note'][:160]}"
    refused = sum(bool(row["note"]) for row in rows)
    kept = sum(row["ok"] for row in rows) - refused
    yield f"  {kept} of {len(rows)} figures kept; {refused} are of models with strings, which no device runs: refused by name"
    for each in harmed:
        state = "unharmed" if each["answered"] and not each["lost"] else "HARMED"
        yield f"  {each['model']:32s} {each['said'][:100]}: the other model {state}, {each['answered']} windows meanwhile"
