"""scikit-learn models (.joblib, .pkl, .skops), through scikit-learn itself in its tool environment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.given import check_given
from converters.isolate import run_job
from converters.loaders.faithful import keep_given
from converters.loaders.pickle_scan import MAX_BYTES, Found, scan
from converters.tools.drive import environment_for, run_tool
from converters.translate import Asked, Tell, Translated
from edge_agent.bundle.archive import sha256_file
from edge_agent.errors import EdgeError

SEED = 0
CLOSE = 1e-3
"""Largest difference of a row's scores, as a share of the largest score, that still counts as equal: float32 against float64."""
SAME = 0.98
"""Least share of equal rows. A value that float32 rounds across a tree's threshold goes another way, so it cannot be all."""


def translate_sklearn(asked: Asked, folder: Path, tell: Tell) -> Translated:
    """The ONNX file of a fitted model or pipeline: ``x`` (rows, features) float32 to ``scores``. Raises :class:`InputError`.

    A pickle runs code when it is opened, so ``asked.trust`` is needed; a skops file needs it only for types that are not known.
    """
    path = Path(asked.model)
    check_given(path, max_bytes=MAX_BYTES)
    found = scan(path)
    _allowed(path, found, trust=asked.trust)
    environment_for("sklearn", str(path), may_make=asked.make_tools, tell=tell)
    work = folder / "sklearn"
    work.mkdir()
    keep_given(asked.samples, work / "given.npz")
    job = {"what": str(path), "form": found.form, "trust": asked.trust, "seed": SEED}
    answer = run_tool("sklearn", "sklearn_to_onnx", job, {"model.bin": path}, work, make=asked.make_tools, tell=tell)
    tell("comparing the translation with the original")
    file, note = _faithful(work, str(path), answer.tree)
    notes = (note, *_told(found, answer.tree))
    return Translated(file, path, sha256_file(path), path.stat().st_size, "scikit-learn", notes)


def _allowed(path: Path, found: Found, *, trust: bool) -> None:
    if trust or found.form == "skops":
        return
    strange = f" It holds code of {', '.join(found.strange[:5])}." if found.strange else ""
    raise InputError(
        f"{path}: is a pickle: opening it runs whatever code its maker put in.{strange} Where you trust who made it, give --trust; "
        "or save it with skops (skops.io.dump), or as ONNX"
    )


def _told(found: Found, answer: Mapping[str, Any]) -> tuple[str, ...]:
    names, classes = answer["features"], answer["classes"]
    said = [f"input x takes {answer['width']} numbers" + (f", in this order: {', '.join(names)}" if names else "")]
    if classes:
        said.append(f"output scores: one for each class, in this order: {', '.join(classes)}")
    if found.version and found.version != answer["version"]:
        said.append(f"written by scikit-learn {found.version} and opened by {answer['version']}: answers may differ from then")
    if found.strange:
        said.append(f"it needs code of {', '.join(found.strange[:5])}, which was trusted")
    return tuple(said)


def _faithful(folder: Path, what: str, answer: Mapping[str, Any]) -> tuple[Path, str]:
    """The translation that answers as scikit-learn does, and how closely. Raises :class:`InputError` when none does."""
    *others, last = (folder / str(name) for name in answer["files"])
    for file in others:
        with suppress(InputError):
            return file, _agreement(file, what, answer)
    return last, _agreement(last, what, answer)


def _agreement(file: Path, what: str, answer: Mapping[str, Any]) -> str:
    """How the translation answers what scikit-learn answered. Raises :class:`InputError` when they differ."""
    folder = file.parent
    got = _asked_again(file, what, int(answer["rows"]))
    with np.load(folder / "expected.npz", allow_pickle=False) as held:
        expected = {name: held[name] for name in held.files}
    same = np.ones(len(got), bool)
    said = []
    if "labels" in expected:
        same = got.argmax(axis=1) == expected["labels"]
        said.append(f"{100 * same.mean():.1f} % of classes are equal")
    if "scores" in expected:
        want = expected["scores"]
        if want.shape != got.shape:
            raise InputError(f"{what}: its ONNX translation gives {got.shape[1]} scores where scikit-learn gives {want.shape[1]}")
        worst = np.abs(got - want).max(axis=1) / max(float(np.abs(want).max()), 1e-6)
        same = worst <= CLOSE  # where scores tell, a tie that rounding breaks otherwise is no difference
        said.append(f"the largest difference is {float(np.abs(got - want).max()):.1e}")
    if not same.mean() >= SAME:
        raise InputError(
            f"{what}: its ONNX translation answers otherwise than {answer['framework']} does on {100 * (1 - same.mean()):.1f} % of "
            f"{len(got)} rows ({', '.join(said)})"
        )
    return f"{answer['model']} of {answer['framework']}: on {len(got)} rows {' and '.join(said)}"


def _asked_again(file: Path, what: str, rows: int) -> Any:
    """The translation's scores, a row a sample, in ONNX Runtime."""
    room = file.parent / f"{file.stem}-comparison"
    room.mkdir()
    job = {
        "kind": "infer",
        "what": what,
        "model": str(file),
        "samples": str(file.parent / "feeds.npz"),
        "preprocess": [],
        "rows": list(range(rows)),
    }
    try:
        run_job(room, job)
    except EdgeError as error:
        plain = str(error).replace(str(file), "the translation")
        raise InputError(f"{what}: was translated to ONNX, but ONNX Runtime does not run it: {plain}") from None
    with np.load(room / "outputs.npz", allow_pickle=False) as held:
        return held["output_0"].reshape(rows, -1).astype(np.float64)
