"""The bundle: model (and its weights, where they lie beside it), golden cases, report and the manifest that says what they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.choose import Tried
from converters.errors import InputError
from converters.goal import Goal
from converters.model import Source
from converters.outputs import beside_bundle
from converters.placing import WEIGHTS_NAME, ModelFiles
from converters.recipe import Recipe
from converters.report.written import Reports
from converters.targets.versions import stricter
from edge_agent.bundle.archive import write_bundle
from edge_agent.bundle.manifest import FileEntry, GoldenCase, Manifest, Requirements, RuntimeRequirement
from edge_agent.clock import iso_utc
from edge_agent.update.durable import write_durable

REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class Written:
    """Where the bundle and the reports beside it are."""

    bundle: Path
    bundle_bytes: int
    sha256: str
    html: Path
    json: Path
    png: Path | None = None


def manifest_for(
    recipe: Recipe,
    goal: Goal,
    source: Source,
    chosen: Tried,
    cases: tuple[GoldenCase, ...],
    files: Mapping[str, bytes],
    facts: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Manifest:
    """``files`` are all of the bundle's; ``facts`` the quality and recipe objects."""
    limits = goal.runtimes[chosen.candidate.runtime]
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        runtime=RuntimeRequirement(limits.name, stricter(limits.minimum, chosen.candidate.minimum), limits.excluded),
        files=tuple(FileEntry(path, _role(path), len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(files.items())),
        inputs=chosen.proof.inputs,
        outputs=chosen.proof.outputs,
        preprocess=recipe.processing.preprocess,
        postprocess=recipe.processing.postprocess,
        labels=recipe.processing.labels,
        requires=Requirements(
            profiles=goal.profiles, arch=goal.arch, latency_p95_ms=goal.budget.latency_ms, peak_rss_mib=goal.budget.memory_mib
        ),
        quality=facts[0],
        golden=cases,
        recipe=facts[1],
        source_sha256=source.sha256,
        created=created(),
        state=recipe.processing.state,
    )


def model_files(runtime: str, model: ModelFiles) -> dict[str, bytes]:
    """``model`` under its names in the bundle."""
    return {f"model.{runtime}": model.model, **model.beside}


def write_all(out: Path, manifest: Manifest, files: Mapping[str, bytes], made: Reports) -> Written:
    """Reports first, the bundle last: where the bundle is, everything is. What this run had written goes again when a later write fails."""
    html, json, png = beside_bundle(out)
    beside = made.files(html, json, png)
    fresh = [path for path in beside if not path.exists()]
    try:
        for path, content in beside.items():
            write_durable(path, content)
        digest = write_bundle(out, manifest, files)
    except BaseException:
        for path in fresh:
            path.unlink(missing_ok=True)
        raise
    return Written(out, out.stat().st_size, digest, html, json, png if png in beside else None)


def created() -> str:
    """The moment in SOURCE_DATE_EPOCH (reproducible-builds.org); empty without it, so that the same input gives the same bytes."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return ""
    if not text.isdigit() or len(text) > 11:
        raise InputError(f"SOURCE_DATE_EPOCH: {text[:40]!r} is not a number of seconds")
    return iso_utc(int(text) * 1_000_000_000)


def _role(path: str) -> str:
    if path.startswith("golden/"):
        return "golden"
    return {REPORT: "report", WEIGHTS_NAME: "weights"}.get(path, "model")
