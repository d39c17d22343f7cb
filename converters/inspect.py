"""What is in a bundle, its hashes checked."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_agent.bundle.archive import read_bundle, sha256_file
from edge_agent.bundle.manifest import Manifest
from edge_agent.values import TensorSpec

LINE = 48
"""Characters of a list that stay in a terminal of 80 columns, with the words around it."""


def inspect(path: Path) -> tuple[Manifest, dict[str, Any]]:
    """The manifest, and all of it as JSON with the bundle's own size and hash. Raises :class:`~edge_agent.errors.BundleError`."""
    manifest, _ = read_bundle(path)
    return manifest, {
        "bundle": {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256_file(path)},
        "manifest": asdict(manifest),
    }


def describe(manifest: Manifest, tree: dict[str, Any]) -> str:
    """The same for people."""
    quality, needs, runtime = manifest.quality, manifest.requires, manifest.runtime
    excluded = f", not {', '.join(runtime.excluded)}" if runtime.excluded else ""
    lines = [
        f"{manifest.name} {manifest.version}",
        f"  bundle       {tree['bundle']['bytes']} bytes, every file's hash checked",
        f"  sha256       {tree['bundle']['sha256']}",
        f"  model        {manifest.model_file.path}, {manifest.model_file.bytes} bytes",
        *(f"  weights      {entry.path}, {entry.bytes} bytes, beside the model" for entry in manifest.weights_files),
        f"  runtime      {runtime.name} {runtime.minimum or 'any version'}{' or newer' if runtime.minimum else ''}{excluded}",
        f"  made for     {', '.join(needs.profiles) or 'any board'}; {', '.join(needs.arch) or 'any processor'}",
        f"  budget       {needs.latency_p95_ms:g} ms (95th percentile), {needs.peak_rss_mib:g} MiB",
        *(f"  input        {_tensor(spec)}" for spec in manifest.inputs),
        *(f"  output       {_tensor(spec)}" for spec in manifest.outputs),
        *(f"  state        {line}" for line in _state(manifest)),
        f"  preprocess   {', '.join(step.op for step in manifest.preprocess) or 'none'}",
        f"  postprocess  {', '.join(step.op for step in manifest.postprocess) or 'none'}",
        f"  labels       {_labels(manifest.labels)}",
        f"  quality      {_quality(quality)}",
        f"  golden       {len(manifest.golden)} cases",
        f"  source       {manifest.source_sha256 or 'not recorded'}",
        f"  created      {manifest.created or 'not recorded'}",
    ]
    return "\n".join(lines)


def _state(manifest: Manifest) -> list[str]:
    state = manifest.state
    if state is None:
        return []
    pairs = [f"{pair.output} to {pair.input}, from {pair.initial:g}" for pair in state.pairs]
    kept = ["kept inside the model"] if state.in_graph == "keep" else []
    return [*pairs, *kept, f"a new version: {state.on_swap}; missing samples: {state.on_gap}"]


def _labels(labels: Sequence[str]) -> str:
    """As many as fit a line, and how many there are."""
    if not labels:
        return "none"
    shown = textwrap.shorten(", ".join(label.replace(" ", "\u00a0") for label in labels), LINE, placeholder=" …").replace("\u00a0", " ")
    return shown if "…" not in shown else f"{shown} ({len(labels)} in all)"


def _tensor(spec: TensorSpec) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in spec.shape)
    scale = "" if spec.scale is None else f", scale {spec.scale:g}, zero point {spec.zero_point}"
    return f"{spec.name}: {spec.dtype} ({sizes}){scale}"


def _quality(quality: Any) -> str:
    if not quality:
        return "no verdict"
    parts = [str(quality.get("verdict", "no verdict")), str(quality.get("scheme", ""))]
    if quality.get("accuracy") is not None:
        parts.append(f"accuracy {100 * quality['accuracy']:.2f} % (original {100 * quality['original_accuracy']:.2f} %)")
    if quality.get("agreement") is not None:
        parts.append(f"agreement {100 * quality['agreement']:.2f} %")
    if quality.get("samples"):
        parts.append(f"on {quality['samples']} samples")
    return ", ".join(part for part in parts if part)
