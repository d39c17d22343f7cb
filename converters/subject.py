"""A model to be looked at as it is: a bundle with its own processing, or a model file with what the user declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.decide import choose_metric, decisions, expected
from converters.errors import InputError
from converters.gather.gather import samples_file
from converters.given import read_head
from converters.isolate import JobServer
from converters.load import load_source
from converters.model import Graph
from converters.processing import Processing
from converters.samples import Samples, Split
from converters.workshop import Proof, Workshop
from edge_agent.bundle.archive import read_bundle
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.preprocess import compile_preprocess

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """``data`` in ``format`` (onnx, tflite) is the model; ``title`` what people call it; ``graph`` its network where it was read."""

    path: Path
    title: str
    format: str
    data: bytes
    processing: Processing
    graph: Graph | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """A subject on samples: its outputs, and for models that classify the class of each sample and (with labels) the true one."""

    subject: Subject
    samples: Samples
    split: Split
    proof: Proof
    metric: str
    classes: tuple[str, ...]
    truth: tuple[str, ...] | None


def read_subject(path: Path, processing: Processing | None) -> Subject:
    """Raises :class:`InputError` for a file that is neither a bundle nor a model. A bundle keeps its own processing unless another is
    given."""
    if read_head(path, len(_ZIP)) == _ZIP:
        manifest, files = read_bundle(path)
        own = Processing(manifest.preprocess, manifest.postprocess, manifest.labels)
        entry = manifest.model_file
        return Subject(path, f"{manifest.name} {manifest.version}", manifest.runtime.name, files[entry.path], processing or own)
    source = load_source(path)
    return Subject(path, path.name, source.format, source.data, processing or Processing(), source.graph)


def run_subject(
    subject: Subject, samples_path: Path, folder: Path, server: JobServer, *, calibration: int, evaluation: int, seed: int
) -> Answers:
    """Runs it on the samples that a build with the same numbers would judge on. Raises :class:`InputError`."""
    folder.mkdir()
    held = samples_file(samples_path, folder)
    workshop = Workshop(folder, held, subject.processing.preprocess, server=server)
    try:
        inputs = workshop.specs(subject.data, subject.format)
        if held != samples_path:
            workshop.collect(samples_path, subject.processing.samples, subject.processing.labels, inputs)
        compile_preprocess(subject.processing.preprocess, inputs)
        samples = Samples(held, inputs, subject.processing.preprocess)
        samples.check()
        split = samples.split(calibration=calibration, evaluation=evaluation, seed=seed)
        proof = workshop.prove(subject.path.stem, subject.data, subject.format, split.evaluate)
    except (ModelError, BundleError) as error:
        raise InputError(f"{subject.path}: {error}") from None
    metric = choose_metric(subject.processing, samples, subject.graph)
    classes = decisions(proof, subject.processing) if metric == "top1" else []
    return Answers(subject, samples, split, proof, metric, tuple(classes), _truth(samples, split.evaluate, subject.processing, classes))


def _truth(samples: Samples, rows: Sequence[int], processing: Processing, classes: list[str]) -> tuple[str, ...] | None:
    if samples.labels is None or not classes:
        return None
    return tuple(expected(samples.labels[list(rows)], processing, classes))
