"""A model to be looked at as it is: a bundle with its own processing, or a model file with what the user declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from converters.decide import choose_metric, decisions, expected
from converters.errors import InputError
from converters.gather.gather import samples_file
from converters.given import read_head
from converters.isolate import JobServer
from converters.load import load_source
from converters.model import Graph
from converters.placing import ModelFiles
from converters.processing import Processing
from converters.samples import Samples, Split
from converters.state import check_declared, fed
from converters.workshop import Proof, Workshop
from edge_agent.bundle.archive import read_bundle
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.preprocess import compile_preprocess

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """``files`` in ``format`` (onnx, tflite) are the model as it is packed; ``title`` what people call it; ``graph`` its network where it
    was read; ``sizes`` what a bundle says of dimensions that its model leaves free."""

    path: Path
    title: str
    format: str
    files: ModelFiles
    processing: Processing
    graph: Graph | None = None
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


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
        own = Processing(manifest.preprocess, manifest.postprocess, manifest.labels, state=manifest.state)
        sizes = {spec.name: tuple(size or 1 for size in spec.shape) for spec in manifest.inputs}
        said = own if processing is None else replace(processing, state=processing.state or manifest.state)
        beside = {PurePosixPath(entry.path).name: files[entry.path] for entry in manifest.weights_files}
        model = ModelFiles(files[manifest.model_file.path], beside)
        return Subject(path, f"{manifest.name} {manifest.version}", manifest.runtime.name, model, said, sizes=sizes)
    source = load_source(path)
    return Subject(path, path.name, source.format, ModelFiles(source.data), processing or Processing(), source.graph)


def run_subject(
    subject: Subject, samples_path: Path, folder: Path, server: JobServer, *, calibration: int, evaluation: int, seed: int
) -> Answers:
    """Runs it on the samples that a build with the same numbers would judge on. Raises :class:`InputError`."""
    folder.mkdir()
    held = samples_file(samples_path, folder)
    processing, state = subject.processing, subject.processing.state
    workshop = Workshop(folder, held, processing.preprocess, state=state, sizes=subject.sizes, server=server)
    try:
        inputs, outputs = workshop.ends(subject.files, subject.format)
        check_declared(state, inputs, outputs, subject.format)
        inputs = fed(inputs, state)
        if held != samples_path:
            workshop.collect(samples_path, processing.samples, processing.labels, inputs)
        compile_preprocess(processing.preprocess, inputs)
        samples = Samples(held, inputs, processing.preprocess)
        samples.check()
        if state is None:
            split = samples.split(calibration=calibration, evaluation=evaluation, seed=seed)
        else:
            split = samples.in_order(evaluation=evaluation)
        proof = workshop.prove(subject.path.stem, subject.files, subject.format, split.evaluate)
    except (ModelError, BundleError) as error:
        raise InputError(f"{subject.path}: {error}") from None
    metric = choose_metric(processing, samples, subject.graph)
    classes = decisions(proof, processing) if metric == "top1" else []
    return Answers(subject, samples, split, proof, metric, tuple(classes), _truth(samples, split.evaluate, processing, classes))


def _truth(samples: Samples, rows: Sequence[int], processing: Processing, classes: list[str]) -> tuple[str, ...] | None:
    if samples.labels is None or not classes:
        return None
    return tuple(expected(samples.labels[list(rows)], processing, classes))
