"""The conversion as one sentence: load, passes, targets, proof, gate, golden and pack."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.calibrate.ranges import Calibration
from converters.choose import Tried
from converters.decide import decisions
from converters.distributions import spread
from converters.findings import Findings, quality, report_tree, tool_versions
from converters.goal import Goal
from converters.golden import choose_cases, make_cases, tolerance, widened
from converters.isolate import JobServer
from converters.original import Original
from converters.outputs import beside_bundle, check_apart, check_outputs, page_files
from converters.pack import REPORT, Written, manifest_for, model_files, write_all
from converters.placing import placed
from converters.prepare import Prepared, prepare
from converters.recipe import Recipe, encode
from converters.report.page import render
from converters.report.written import reports, write_reports
from converters.samples import Samples
from converters.search import Found, explore
from converters.state import fed
from converters.translate import Asked, Tell
from converters.workshop import Proof
from edge_agent.bundle.manifest import GoldenCase


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """``written`` is ``None`` when the gate refused; ``tree`` is the report either way; ``reports`` are the files it
    was asked to be written to."""

    written: Written | None
    reasons: tuple[str, ...]
    tree: dict[str, Any]
    reports: tuple[Path, ...] = ()


def convert(
    asked: Asked,
    samples_path: Path,
    recipe: Recipe,
    out: Path,
    tell: Tell,
    *,
    jobs: int = 0,
    server: JobServer | None = None,
    report: Path | None = None,
) -> Outcome:
    """Makes the bundle ``out`` of the model that was ``asked`` for. ``tell`` hears what is being done; ``jobs`` proofs run at once, in
    children of ``server``, which a caller may have started before it imported this module. The page ``report`` (and what belongs beside it)
    is written of a refusal too.

    Raises :class:`~converters.errors.InputError` for anything wrong with the input, other EdgeErrors for what fails on the way. A refusal
    of the gate is an :class:`Outcome`; without ``report`` nothing is written then.
    """
    given = (Path(asked.model), samples_path, *asked.files)
    check_outputs((out, *beside_bundle(out)), given)
    if report is not None:
        check_outputs(page_files(report), given)
        check_apart((out,), page_files(report))
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        ready = prepare(asked, samples_path, recipe, Path(folder), tell, server)
        found = explore(ready, tell, jobs=jobs)
        findings = _findings(ready, found)
        if found.chosen is None:
            outcome = Outcome(None, _refusals(findings, ready.goal), report_tree(findings, timings=True))
        else:
            tell("packing")
            outcome = _packed(findings, found.chosen, ready.goal, ready.original, out)
        written = write_reports(outcome.tree, report) if report is not None else ()
        return replace(outcome, reports=written)


def tune(
    asked: Asked, samples_path: Path, recipe: Recipe, out: Path | None, tell: Tell, *, jobs: int = 0, server: JobServer | None = None
) -> dict[str, Any]:
    """The search alone; its report as JSON, and where ``out`` is given as a page there and as JSON beside it. Raises as
    :func:`convert` does."""
    if out is not None:
        check_outputs(page_files(out), (Path(asked.model), samples_path, *asked.files))
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        ready = prepare(asked, samples_path, recipe, Path(folder), tell, server)
        findings = _findings(ready, explore(ready, tell, jobs=jobs))
    tree = {**report_tree(findings, timings=True), "search_only": True}
    if out is not None:
        write_reports(tree, out)
    return tree


def _findings(ready: Prepared, found: Found) -> Findings:
    """With the spread of the answers, for which the samples must still be at hand."""
    scores = spread(ready.original, found.chosen, ready.recipe) if found.chosen else None
    return Findings(ready.recipe, ready.source, ready.original.split, ready.passes, found, scores=scores)


def _packed(findings: Findings, chosen: Tried, goal: Goal, original: Original, out: Path) -> Outcome:
    """Golden cases, manifest, reports and the bundle."""
    recipe = findings.recipe
    cases, files = _golden(findings, chosen, original)
    findings = replace(findings, golden_cases=len(cases))
    files.update(model_files(chosen.candidate.runtime, placed(chosen.candidate.data, chosen.candidate.runtime, recipe.weights)))
    files[REPORT] = render(report_tree(findings, timings=False)).encode()
    facts = (quality(findings), encode(recipe, tools=tool_versions(), samples_sha256=original.samples.sha256()))
    manifest = manifest_for(recipe, goal, findings.source, chosen, cases, files, facts)
    tree = report_tree(findings, timings=True)
    written = write_all(out, manifest, files, reports(tree))
    return Outcome(written, (), {**tree, "bundle": {"path": str(out), "bytes": written.bundle_bytes, "sha256": written.sha256}})


def _golden(findings: Findings, chosen: Tried, original: Original) -> tuple[tuple[GoldenCase, ...], dict[str, bytes]]:
    proof, processing = chosen.proof, findings.recipe.processing
    rows = original.split.evaluate
    classes = decisions(proof, processing) if original.metric == "top1" else [""] * len(rows)
    bytes_each = sum(array[0].nbytes for array in proof.values.values()) + sum(spec.bytes_for() for spec in proof.inputs)
    variant = next((v for v in findings.found.variants if v.name == chosen.candidate.variant), None)
    steps = _output_steps(variant.calibration if variant else None, proof)
    allowed = tolerance(proof, chosen.candidate.precision, steps, chosen.evaluation.max_abs_error)
    samples = Samples(original.samples.path, fed(proof.inputs, processing.state), processing.preprocess)
    # What a graph keeps cannot be given to it: only where a recording begins is its answer known to come again.
    kept = processing.state is not None and processing.state.in_graph == "keep"
    positions = choose_cases(classes, bytes_each, samples.starts(rows) if kept else None)
    others = [other.proof for other in chosen.elsewhere if other.proof is not None and not other.reason]
    return make_cases(proof, samples, rows, positions, widened(allowed, proof, others, positions), processing.state)


def _output_steps(calibration: Calibration | None, proof: Proof) -> dict[str, float]:
    """The width of one 8-bit code of each output, from its calibrated range."""
    if calibration is None:
        return {}
    known = {spec.name: calibration.ranges[spec.name] for spec in proof.outputs if spec.name in calibration.ranges}
    return {name: (max(high, 0.0) - min(low, 0.0)) / 255 for name, (low, high) in known.items()}


def _refusals(findings: Findings, goal: Goal) -> tuple[str, ...]:
    said = [f"{item.candidate.label} {reason}" for item in findings.found.tried for reason in item.judgement.reasons]
    said += [f"{item.scheme}: {item.reason}" for item in findings.found.not_made]
    recipe = findings.recipe
    if findings.source.format == "onnx" and "onnx" in goal.runtimes and recipe.scheme != "as-is" and recipe.target != "tflite":
        said.append("--scheme as-is packs the file unchanged, proven and with golden cases")
    return tuple(said)
