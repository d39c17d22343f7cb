"""The conversion as one sentence: load, passes, targets, proof, gate, golden and pack."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.calibrate.ranges import Calibration
from converters.candidates import Candidate, NotMade, emit, schemes_to_try
from converters.choose import Tried, choose
from converters.decide import choose_metric, decisions, expected
from converters.errors import InputError
from converters.evaluate import Evaluation, evaluate
from converters.findings import Findings, quality, report_tree, tool_versions
from converters.gate import Limits, judge
from converters.goal import Goal, goal_for
from converters.golden import choose_cases, make_cases, tolerance
from converters.load import load_source
from converters.model import Graph, Source
from converters.pack import REPORT, Written, check_output, manifest_for, model_path, write_all
from converters.passes.run import PassResult, run_passes
from converters.recipe import Recipe, encode
from converters.report import render
from converters.samples import Samples, Split
from converters.timing import latency, ratio
from converters.workshop import Proof, Workshop
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.postprocess import compile_postprocess
from edge_agent.pipeline.preprocess import compile_preprocess

TIMING_S = 1.5
TIMED_SAMPLES = 8

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """``written`` is ``None`` when the gate refused; ``tree`` is the report either way."""

    written: Written | None
    reasons: tuple[str, ...]
    tree: dict[str, Any]


def convert(model: Path, samples_path: Path, recipe: Recipe, out: Path, tell: Tell) -> Outcome:
    """Makes the bundle ``out`` of ``model``. ``tell`` hears what is being done.

    Raises :class:`InputError` for anything wrong with the input, other EdgeErrors for what fails on the way. A refusal of the gate is an
    :class:`Outcome`; nothing is written then.
    """
    check_output(out, (model, samples_path))
    goal = goal_for(recipe.profiles)
    source = load_source(model)
    schemes = schemes_to_try(source, goal, recipe)
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        build = _Build(source, goal, recipe, Workshop(Path(folder), samples_path, recipe.processing.preprocess), tell)
        findings = build.run(schemes, samples_path)
        if findings.chosen is None:
            return Outcome(None, _refusals(findings), report_tree(findings, timings=True))
        tell("packing")
        return build.pack(findings, findings.chosen, out)


class _Build:
    """What the steps of one build share."""

    def __init__(self, source: Source, goal: Goal, recipe: Recipe, workshop: Workshop, tell: Tell) -> None:
        self._source, self._goal, self._recipe = source, goal, recipe
        self._workshop, self._tell = workshop, tell
        self._samples: Samples
        self._split: Split

    def run(self, schemes: tuple[str, ...], samples_path: Path) -> Findings:
        recipe = self._recipe
        graph, passes = self._prepare(schemes)
        original = self._original(samples_path, graph)
        calibration = self._calibrate(schemes, graph)
        made = [emit(scheme, self._source, graph, calibration.ranges if calibration else {}) for scheme in schemes]
        refused = [item for item in made if isinstance(item, NotMade)]
        proven: list[tuple[Candidate, Proof, Evaluation]] = []
        judge_by = _Judge(recipe, self._source, self._samples, self._split, original)
        for candidate in made:
            if isinstance(candidate, NotMade):
                continue
            self._tell(f"proving {candidate.scheme} on {len(self._split.evaluate)} samples")
            try:
                proof = self._workshop.prove(candidate.scheme, candidate.data, candidate.runtime, self._split.evaluate)
                proven.append((candidate, proof, judge_by.evaluate(proof)))
            except ModelError as error:
                refused.append(NotMade(candidate.scheme, str(error)))
        self._tell("timing against the original")
        rows = self._split.evaluate[:TIMED_SAMPLES]
        rounds = self._workshop.time([original.path, *(proof.path for _, proof, _ in proven)], rows, budget_s=TIMING_S)
        limits = Limits(recipe.max_drop, recipe.min_sqnr_db, self._goal.budget.size_mib, recipe.force)
        tried = []
        for (candidate, proof, evaluation), spent in zip(proven, rounds[1:], strict=True):
            speed = ratio(spent, rounds[0])
            weighed = None if candidate.precision == "as-is" else speed  # the source itself cannot be slower than the source
            judgement = judge(evaluation, limits, size_bytes=len(candidate.data), source_bytes=self._source.bytes, speed=weighed)
            tried.append(Tried(candidate, proof, evaluation, judgement, latency(spent), speed))
        chosen, why = choose(tried)
        return Findings(
            recipe, self._source, self._split, calibration, passes, tried, refused, chosen, why, latency(rounds[0]), self._cases(chosen)
        )

    def pack(self, findings: Findings, chosen: Tried, out: Path) -> Outcome:
        """Golden cases, manifest, reports and the bundle."""
        steps = _output_steps(findings.calibration, chosen.proof)
        allowed = tolerance(chosen.proof, chosen.candidate.precision, steps, chosen.evaluation.max_abs_error)
        samples = Samples(self._samples.path, chosen.proof.inputs, self._recipe.processing.preprocess)
        cases, files = make_cases(chosen.proof, samples, self._split.evaluate, self._positions(chosen), allowed)
        files[model_path(chosen.candidate.runtime)] = chosen.candidate.data
        files[REPORT] = render(report_tree(findings, timings=False)).encode()
        written_recipe = encode(self._recipe, tools=tool_versions(), samples_sha256=self._samples.sha256())
        facts = (quality(findings), written_recipe)
        manifest = manifest_for(self._recipe, self._goal, self._source, chosen, cases, files, facts)
        tree = report_tree(findings, timings=True)
        written = write_all(out, manifest, files, render(tree), json.dumps(tree, indent=2, sort_keys=True) + "\n")
        return Outcome(written, (), {**tree, "bundle": {"path": str(out), "bytes": written.bundle_bytes, "sha256": written.sha256}})

    def _prepare(self, schemes: tuple[str, ...]) -> tuple[Graph | None, tuple[PassResult, ...]]:
        graph = self._source.graph
        if graph is None or schemes[0].endswith("as-is"):
            return graph, ()
        return run_passes(graph)

    def _original(self, samples_path: Path, graph: Graph | None) -> Proof:
        """The source on the evaluation samples. Only now are a TensorFlow Lite file's inputs known, so the samples are opened here."""
        recipe, processing = self._recipe, self._recipe.processing
        inputs = graph.inputs if graph else self._workshop.specs(self._source.data, self._source.format)
        try:
            compile_preprocess(processing.preprocess, inputs)
        except BundleError as error:
            raise InputError(f"processing file: {error}") from None
        self._samples = Samples(samples_path, inputs, processing.preprocess)
        self._split = self._samples.split(calibration=recipe.calibration, evaluation=recipe.evaluation, seed=recipe.seed)
        self._tell(f"running the original on {len(self._split.evaluate)} samples")
        original = self._workshop.prove("original", self._source.data, self._source.format, self._split.evaluate)
        try:
            compile_postprocess(processing.postprocess, original.outputs, processing.labels)
        except BundleError as error:
            raise InputError(f"processing file: {error}") from None
        return original

    def _calibrate(self, schemes: tuple[str, ...], graph: Graph | None) -> Calibration | None:
        if graph is None or not any(scheme.endswith("-int8") for scheme in schemes):
            return None
        self._tell(f"calibrating on {len(self._split.calibrate)} samples")
        return self._workshop.calibrate(graph, self._split.calibrate)

    def _positions(self, chosen: Tried) -> list[int]:
        arrays = [array[0] for array in chosen.proof.values.values()]
        bytes_each = sum(array.nbytes for array in arrays) + sum(spec.bytes_for() for spec in chosen.proof.inputs)
        count = len(self._split.evaluate)
        classes = decisions(chosen.proof, self._recipe.processing) if chosen.evaluation.metric == "top1" else [""] * count
        return choose_cases(classes, bytes_each)

    def _cases(self, chosen: Tried | None) -> int:
        return len(self._positions(chosen)) if chosen else 0


class _Judge:
    """Compares proofs with the original's, whose decisions are made once."""

    def __init__(self, recipe: Recipe, source: Source, samples: Samples, split: Split, original: Proof) -> None:
        self._processing, self._rows, self._original = recipe.processing, split.evaluate, original
        self._metric = choose_metric(recipe.processing, samples.labels, source.graph)
        self._classes: list[str] = []
        self._truth: list[str] | None = None
        if self._metric == "top1":
            self._classes = decisions(original, recipe.processing)
            if samples.labels is not None:
                self._truth = expected(samples.labels[list(split.evaluate)], recipe.processing, self._classes)

    def evaluate(self, proof: Proof) -> Evaluation:
        classes = (self._classes, decisions(proof, self._processing)) if self._metric == "top1" else None
        return evaluate(self._original, proof, self._rows, self._metric, classes, self._truth)


def _output_steps(calibration: Calibration | None, proof: Proof) -> dict[str, float]:
    """The width of one 8-bit code of each output, from its calibrated range."""
    if calibration is None:
        return {}
    known = {spec.name: calibration.ranges[spec.name] for spec in proof.outputs if spec.name in calibration.ranges}
    return {name: (max(high, 0.0) - min(low, 0.0)) / 255 for name, (low, high) in known.items()}


def _refusals(findings: Findings) -> tuple[str, ...]:
    said = [f"{item.candidate.scheme} {reason}" for item in findings.tried for reason in item.judgement.reasons]
    return (*said, *(f"{item.scheme}: {item.reason}" for item in findings.not_made))
