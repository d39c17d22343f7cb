"""The float original on the evaluation samples: what every candidate is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.decide import choose_metric, decisions, expected, measured_output
from converters.errors import Died, InputError
from converters.evaluate import Evaluation, evaluate
from converters.metrics.yardstick import Yardstick, yardstick
from converters.model import Graph, Source
from converters.recipe import Recipe
from converters.samples import Samples, Split, held_arrays
from converters.state import check_declared, check_undeclared, fed, read, sized
from converters.workshop import Proof, Workshop
from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.postprocess import compile_postprocess
from edge_agent.pipeline.preprocess import compile_preprocess
from edge_agent.values import TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """The samples, how they are divided, and the source's outputs on those for evaluation. For metric top1 also the ``classes`` it gives
    and, with labels, the ``truth``."""

    samples: Samples
    split: Split
    proof: Proof
    metric: str
    classes: tuple[str, ...] = ()
    truth: tuple[str, ...] | None = None
    measure: Yardstick | None = None

    def compare(self, proof: Proof, recipe: Recipe) -> Evaluation:
        """How far a candidate's outputs are from these."""
        classes = tuple(decisions(proof, recipe.processing)) if self.metric == "top1" else ()
        figures = self.measure(proof) if self.measure else None
        measured = measured_output(self.metric, self.proof, recipe.processing)
        return evaluate(self.proof, proof, self.split.evaluate, self.metric, (self.classes, classes), self.truth, figures, measured)


def run_original(
    workshop: Workshop,
    source: Source,
    graph: Graph | None,
    samples_path: Path,
    recipe: Recipe,
    meanwhile: Callable[[Split], None] = lambda split: None,
) -> Original:
    """Opens the samples for the source's inputs and runs it; ``meanwhile`` is called before it runs, to start what needs only the samples.
    Raises :class:`InputError` where samples or declared steps do not fit it,
    or its runtime refuses it."""
    processing = recipe.processing
    with _named(source):
        inputs, outputs = (graph.inputs, graph.outputs) if graph else workshop.ends(source.data, source.format)
    samples = _samples(source, inputs, outputs, samples_path, recipe)
    samples.check()
    if processing.state is not None:
        split = samples.in_order(evaluation=recipe.evaluation)
    else:
        split = samples.split(calibration=recipe.calibration, evaluation=recipe.evaluation, seed=recipe.seed)
    meanwhile(split)
    with _named(source):
        proof = workshop.prove("original", source.data, source.format, split.evaluate)
    _check_finite(source, proof, split.evaluate)
    try:
        compile_postprocess(processing.postprocess, read(proof.outputs, processing.state), processing.labels, fed(inputs, processing.state))
    except BundleError as error:
        raise InputError(f"processing file: {error}") from None
    metric = choose_metric(processing, samples, graph)
    if metric != "top1":
        measure = yardstick(metric, processing.metric, proof, samples, split.evaluate, processing.postprocess)
        return Original(samples, split, proof, metric, measure=measure)
    classes = decisions(proof, processing)
    truth = None if samples.labels is None else tuple(expected(samples.labels[list(split.evaluate)], processing, classes))
    return Original(samples, split, proof, metric, tuple(classes), truth)


def _samples(source: Source, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], path: Path, recipe: Recipe) -> Samples:
    """The samples of what a window feeds. Raises :class:`InputError` where declared state or steps do not fit, and where state seems to be
    meant but is not declared."""
    processing = recipe.processing
    state, inputs = processing.state, sized(inputs, dict(recipe.shapes))
    check_declared(state, inputs, outputs, source.format)
    if state is None:
        check_undeclared(source.path, inputs, outputs, held_arrays(path))
    _check_sizes(source, inputs)
    _check_preprocess(processing.preprocess, fed(inputs, state))
    return Samples(path, fed(inputs, state), processing.preprocess)


def _check_sizes(source: Source, inputs: tuple[TensorSpec, ...]) -> None:
    """A device takes one free size as 1; it cannot guess several."""
    for spec in inputs:
        if spec.shape.count(None) > 1:
            example = ",".join(str(size or "N") for size in spec.shape)
            raise InputError(f"{source.path}: input {spec.name}: several of its sizes are free; give --shape {spec.name}={example}")


def _check_finite(source: Source, proof: Proof, rows: Sequence[int]) -> None:
    """Nothing can be held against an original that gives no numbers itself."""
    for spec in proof.outputs:
        values = proof.values[spec.name].reshape(len(rows), -1)
        wrong = [at for at, row in enumerate(values) if values.dtype.kind == "f" and not np.isfinite(row).all()]
        if wrong:
            raise InputError(
                f"{source.path}: output {spec.name} holds NaN or infinity on {len(wrong)} of {len(rows)} samples, first on row "
                f"{rows[wrong[0]]}: check the samples, the preprocessing and the model's weights"
            )


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """A reason of the runtime names the user's file, not our copy of it. A crash stays what it is."""
    try:
        yield
    except Died:
        raise
    except ModelError as error:
        raise InputError(f"{source.path}: {str(error).removeprefix(f'original.{source.format}: ')}") from None


def _check_preprocess(steps: tuple[Step, ...], inputs: tuple[TensorSpec, ...]) -> None:
    try:
        compile_preprocess(steps, inputs)
    except BundleError as error:
        raise InputError(f"processing file: {error}") from None
