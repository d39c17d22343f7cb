"""Distillation: the constants of a student are trained until it answers as its teacher does (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import InputError
from converters.isolate import run_job
from converters.model import Graph, to_bytes
from converters.samples import Samples
from converters.tools.drive import environment_for, run_tool
from edge_agent.bundle.manifest import Step

Tell = Callable[[str], None]
CHECKED_ROWS = 8
MAX_SAMPLE_BYTES = 1 << 30
MIN_ROWS = 32


@dataclass(frozen=True, slots=True)
class Lesson:
    """How the student is taught.

    ``temperature`` softens the scores of classes (above 0); ``alpha`` is the share of the labels, where the samples have some, in the loss
    (0 none, 1 nothing else). ``noise`` is added to float inputs, in standard deviations of each; ``shift`` moves images by up to so many
    pixels along ``axes``: 0 unless their place does not matter. ``held_out`` is the share of the samples that decides when to stop:
    after ``patience`` rounds without progress, ``epochs`` rounds, or ``seconds``, whichever is first; only the last is not repeatable.
    ``classes`` says that the first output is scores of classes; where it is ``None``, a softmax that ends the teacher says so, or labels.
    """

    temperature: float = 4.0
    alpha: float = 0.0
    classes: bool | None = None
    noise: float = 0.05
    shift: int = 0
    axes: tuple[int, int] = (2, 3)
    held_out: float = 0.15
    epochs: int = 60
    patience: int = 10
    seconds: float = 600.0
    batch: int = 32
    rate: float = 1e-3

    def __post_init__(self) -> None:
        for name, low, high in (("temperature", 1e-3, 1e3), ("alpha", 0, 1), ("noise", 0, 10), ("held_out", 0.01, 0.5), ("rate", 1e-9, 1)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"distillation: {name} is {getattr(self, name)}; give {low} to {high}")


@dataclass(frozen=True, slots=True, eq=False)
class Distilled:
    """``graph`` is the student with new constants. ``before`` and ``after`` are its loss on held-out samples; where nothing was gained
    the graph is the student as it was. ``note`` says it in a sentence."""

    graph: Graph
    before: float
    after: float
    rounds: int
    note: str


def distil(
    student: Graph,
    teacher: Graph,
    samples: Path,
    *,
    temperature: float = 4.0,
    alpha: float = 0.0,
    seed: int = 0,
    folder: Path,
    make: bool = False,
    tell: Tell,
    rows: Sequence[int] | None = None,
    preprocess: tuple[Step, ...] = (),
) -> Graph:
    """``student`` with constants that make it answer as ``teacher``. See :func:`taught`, which also says what was gained."""
    lesson = Lesson(temperature=temperature, alpha=alpha)
    return taught(student, teacher, samples, lesson, seed=seed, folder=folder, make=make, tell=tell, rows=rows, preprocess=preprocess).graph


def taught(
    student: Graph,
    teacher: Graph,
    samples: Path,
    lesson: Lesson,
    *,
    seed: int = 0,
    folder: Path,
    make: bool = False,
    tell: Tell,
    rows: Sequence[int] | None = None,
    preprocess: tuple[Step, ...] = (),
) -> Distilled:
    """Teaches on ``rows`` (all where ``None``) of ``samples``; works in ``folder``, which is to be empty.

    Both graphs take the same inputs; the first output is what is compared: before a softmax that ends it, its scores. Raises
    :class:`InputError` where there are too few samples, the graphs do not match, or hold an operator that cannot be trained.
    """
    _check(student, teacher)
    environment_for("pytorch", "distillation", may_make=make, tell=tell)
    held = Samples(samples, student.inputs, preprocess)
    chosen = tuple(range(held.count)) if rows is None else tuple(rows)
    if len(chosen) < MIN_ROWS:
        raise InputError(f"{samples}: {len(chosen)} samples are too few to distil from; give at least {MIN_ROWS}")
    arrays = _arrays(held, student, chosen)
    if held.labels is not None and lesson.alpha > 0:
        arrays["labels"] = held.labels[list(chosen)]
    given = folder / "given"
    given.mkdir()
    for name, graph in (("teacher", teacher), ("student", student)):
        (given / f"{name}.onnx").write_bytes(to_bytes(graph))
        arrays[f"{name}_0"] = _answers(given / f"{name}.onnx", samples, chosen[:CHECKED_ROWS], preprocess, folder / name)
    np.savez(given / "samples.npz", **arrays)
    if lesson.classes is None and held.labels is not None:
        lesson = replace(lesson, classes=True)
    return _learned(student, given, lesson, seed, folder / "work", make=make, tell=tell)


def _check(student: Graph, teacher: Graph) -> None:
    if [(s.name, s.dtype) for s in student.inputs] != [(s.name, s.dtype) for s in teacher.inputs]:
        raise InputError("distillation: student and teacher do not take the same inputs")
    if student.outputs[0].shape[1:] != teacher.outputs[0].shape[1:]:
        raise InputError("distillation: student and teacher do not give outputs of the same shape")


def _arrays(held: Samples, student: Graph, rows: Sequence[int]) -> dict[str, Any]:
    """Every input as one array, the questions along its first axis."""
    kept: dict[str, list[Any]] = {spec.name: [] for spec in student.inputs}
    size_bytes = 0
    for feed in held.feeds(rows):
        for name, array in feed.items():
            kept[name].append(np.asarray(array))
            size_bytes += kept[name][-1].nbytes
        if size_bytes > MAX_SAMPLE_BYTES:
            raise InputError(f"{held.path}: {len(rows)} samples have more than {MAX_SAMPLE_BYTES} bytes; distil on fewer")
    return {f"input_{i}": np.concatenate(arrays) for i, arrays in enumerate(kept.values())}


def _answers(model: Path, samples: Path, rows: Sequence[int], preprocess: tuple[Step, ...], room: Path) -> Any:
    """What the runtime says to ``rows``, to check PyTorch's reading of the network against; the questions along the first axis."""
    room.mkdir()
    steps = [{"op": step.op, "args": dict(step.args)} for step in preprocess]
    job = {"kind": "infer", "what": f"the {model.stem}", "model": str(model), "samples": str(samples.resolve())}
    run_job(room, {**job, "preprocess": steps, "rows": list(rows)})
    with np.load(room / "outputs.npz", allow_pickle=False) as held:
        return np.concatenate(list(held["output_0"]))


def _learned(student: Graph, given: Path, lesson: Lesson, seed: int, work: Path, *, make: bool, tell: Tell) -> Distilled:
    work.mkdir()
    files = {name: given / name for name in ("teacher.onnx", "student.onnx", "samples.npz")}
    job = {**asdict(lesson), "what": "distillation", "seed": seed, "inputs": [spec.name for spec in student.inputs]}
    timeout_s = 2 * lesson.seconds + 300
    answer = run_tool("pytorch", "distil_torch", job, files, work, make=make, tell=tell, timeout_s=timeout_s).tree
    first, best, rounds = float(answer["first"]), float(answer["best"]), int(answer["rounds"])
    if not best < first:
        return Distilled(student, first, first, rounds, f"distillation gained nothing in {rounds} rounds; the network is as it was")
    with np.load(work / "weights.npz", allow_pickle=False) as held:
        fresh = {name: held[f"weight_{i}"] for i, name in enumerate(answer["weights"])}
    for name, array in fresh.items():
        old = np.asarray(student.constants[name])
        if array.shape != old.shape or array.dtype != old.dtype or not np.isfinite(array).all():
            raise InputError(f"distillation: the weights {name} did not come out as numbers of the shape they had")
    graph = replace(student, constants={**student.constants, **fresh})
    kind = "divergence from the teacher's classes" if answer["classes"] else "squared difference from the teacher, over its variance"
    ended = "; it was ended by its time, so another run may give other weights" if answer["ended"] == "time" else ""
    note = f"distilled by {answer['framework']} in {rounds} rounds: {kind} {first:.3g} before, {best:.3g} after{ended}"
    return Distilled(graph, first, best, rounds, note)
