"""Everything a search starts from: the boards' goal, the model and its network, the original's own answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converters.candidates import schemes_to_try
from converters.gather.gather import samples_file
from converters.goal import Goal, goal_for
from converters.isolate import JobServer
from converters.model import Graph, Source
from converters.npz import NpzFile
from converters.opening import open_source
from converters.original import Original, run_original
from converters.passes.fix_shapes import shapes_from_samples, sized_file
from converters.passes.run import PassResult, run_passes
from converters.recipe import Recipe
from converters.samples import array_for_each
from converters.translate import Asked, Tell
from converters.workshop import Workshop


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """``graph`` is the network after ``passes``, ``None`` where the file can only be packed as it is; ``schemes`` in the order of the
    boards' preference; ``make_tools`` allows to make a tool environment that is missing."""

    goal: Goal
    recipe: Recipe
    workshop: Workshop
    source: Source
    schemes: tuple[str, ...]
    graph: Graph | None
    passes: tuple[PassResult, ...]
    original: Original
    make_tools: bool = False


def prepare(asked: Asked, samples: Path, recipe: Recipe, folder: Path, tell: Tell, server: JobServer | None = None) -> Prepared:
    """Opens model and samples and runs the original, in children of ``server``. Raises :class:`~converters.errors.InputError` for anything
    wrong with them."""
    goal = goal_for(recipe.profiles)
    held = samples_file(samples, folder)
    workshop = Workshop(folder, held, recipe.processing.preprocess, server=server)
    source = open_source(asked, workshop, folder, tell, passes=recipe.scheme != "as-is")
    schemes = schemes_to_try(source, goal, recipe)
    if held != samples:
        tell(f"gathering the samples in {samples}")
        inputs = source.graph.inputs if source.graph else workshop.specs(source.data, source.format)
        workshop.collect(samples, recipe.processing.samples, recipe.processing.labels, inputs)
    graph = source.graph
    passes: tuple[PassResult, ...] = ()
    if graph is not None and not schemes[0].endswith("as-is"):
        source = sized_file(source, _sizes(graph, held, recipe))
        assert source.graph is not None
        graph, passes = run_passes(source.graph)
        if recipe.search and graph is not source.graph:
            workshop.check_passes(source.graph)
    tell("running the original")
    original = run_original(workshop, source, graph, held, recipe)
    return Prepared(goal, recipe, workshop, source, schemes, graph, passes, original, asked.make_tools)


def _sizes(graph: Graph, samples: Path, recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Free sizes of the inputs as the user says, or else as the samples are."""
    heads = NpzFile(samples).heads
    rows = {name: head.shape[1:] for name, head in heads.items()}
    for name, array in array_for_each(tuple(heads), tuple(spec.name for spec in graph.inputs)).items():
        rows[name] = rows[array]
    return {**shapes_from_samples(graph, rows), **dict(recipe.shapes)}
