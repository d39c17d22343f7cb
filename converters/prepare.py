"""Everything a search starts from: the boards' goal, the model and its network, the original's own answers."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

from converters.calibrate.ranges import Calibration
from converters.candidates import schemes_to_try
from converters.gather.gather import samples_file
from converters.goal import Goal, goal_for
from converters.isolate import JobServer
from converters.model import Graph, Source
from converters.npz import NpzFile
from converters.opening import open_source
from converters.original import Original, run_original
from converters.passes.fix_shapes import shapes_from_samples, sized_file
from converters.passes.for_tflite import with_expansion
from converters.passes.run import PassResult, run_passes
from converters.recipe import Recipe
from converters.samples import Split, array_for_each
from converters.state import fed
from converters.targets.flatbuffer import schema
from converters.translate import Asked, Tell
from converters.words import needs_ranges
from converters.workshop import Workshop
from edge_agent.errors import RuntimeMissing


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """``graph`` is the network after ``passes``, ``None`` where the file can only be packed as it is; ``schemes`` in the order of the
    boards' preference; ``make_tools`` allows to make a tool environment that is missing. ``calibration`` of
    ``graph`` is on its way where integer targets are to be written."""

    goal: Goal
    recipe: Recipe
    workshop: Workshop
    source: Source
    schemes: tuple[str, ...]
    graph: Graph | None
    passes: tuple[PassResult, ...]
    original: Original
    make_tools: bool = False
    calibration: Future[Calibration] | None = None


def prepare(asked: Asked, samples: Path, recipe: Recipe, folder: Path, tell: Tell, server: JobServer | None = None) -> Prepared:
    """Opens model and samples and runs the original, in children of ``server``. Raises :class:`~converters.errors.InputError` for anything
    wrong with them."""
    goal = goal_for(recipe.profiles)
    if recipe.processing.state is not None:
        recipe = replace(recipe, scheme="as-is")
    if "tflite" in goal.runtimes and recipe.target != "onnx":
        Thread(target=_import_schema, daemon=True).start()
    held = samples_file(samples, folder)
    processing = recipe.processing
    sizes = dict(recipe.shapes)
    workshop = Workshop(folder, held, processing.preprocess, state=processing.state, sizes=sizes, weights=recipe.weights, server=server)
    source = open_source(asked, workshop, folder, tell, passes=recipe.scheme != "as-is")
    schemes = schemes_to_try(source, goal, recipe)
    if held != samples:
        tell(f"gathering the samples in {samples}")
        inputs = source.graph.inputs if source.graph else workshop.specs(source.data, source.format)
        workshop.collect(samples, processing.samples, processing.labels, fed(inputs, processing.state))
    graph = source.graph
    passes: tuple[PassResult, ...] = ()
    if graph is not None and not schemes[0].endswith("as-is"):
        source = sized_file(source, _sizes(graph, held, recipe))
        assert source.graph is not None
        graph, passes = run_passes(source.graph)
        if recipe.search and graph is not source.graph:
            workshop.check_passes(source.graph)
    ahead = _Ahead(workshop, graph, recipe, schemes)
    tell("running the original")
    original = run_original(workshop, source, graph, held, recipe, ahead.start)
    return Prepared(goal, recipe, workshop, source, schemes, graph, passes, original, asked.make_tools, ahead.calibration)


def _import_schema() -> None:
    """A tenth of a second of imports that writing TensorFlow Lite needs later, while children keep this process waiting."""
    with contextlib.suppress(RuntimeMissing):
        schema()


class _Ahead:
    """The calibration that integer targets will need, begun beside the original's own run: the two ask for nothing of each other."""

    def __init__(self, workshop: Workshop, graph: Graph | None, recipe: Recipe, schemes: tuple[str, ...]) -> None:
        self._workshop, self._graph, self._recipe = workshop, graph, recipe
        self._wanted = graph is not None and any(map(needs_ranges, schemes))
        self.calibration: Future[Calibration] | None = None

    def start(self, split: Split) -> None:
        """Returns at once."""
        if self._graph is None or not self._wanted:
            return
        pool = ThreadPoolExecutor(1)
        self.calibration = pool.submit(self._workshop.calibrate, with_expansion(self._graph), split.calibrate, self._recipe.calibrator)
        pool.shutdown(wait=False)


def _sizes(graph: Graph, samples: Path, recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Free sizes of the inputs as the user says, or else as the samples are."""
    heads = NpzFile(samples).heads
    rows = {name: head.shape[1:] for name, head in heads.items()}
    for name, array in array_for_each(tuple(heads), tuple(spec.name for spec in graph.inputs)).items():
        rows[name] = rows[array]
    return {**shapes_from_samples(graph, rows), **dict(recipe.shapes)}
