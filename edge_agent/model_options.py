"""With which options each version's workers run on this board: the profile's, or what a trial on the board found to be better."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from device_profiles.schema import RuntimeLimits
from edge_agent.bench_subject import Subject
from edge_agent.bundle.manifest import to_json
from edge_agent.config import PipelineConfig
from edge_agent.inference.context import ModelVersion
from edge_agent.runtimes.installed import onnx_library, tflite_library
from edge_agent.runtimes.options import RuntimeOptions, options_for
from edge_agent.runtimes.tune import Choice, TuneKey, cpu_model, describe, kept_choice
from edge_agent.tuning_apart import tune_apart


class ModelOptions:
    """``folder`` is where choices are kept; None: nothing is tried. ``rates_hz`` is how often a model will be asked, as far as is known.
    Models named in ``mapped`` leave weights that lie beside them where they lie."""

    def __init__(
        self,
        runtimes: Mapping[str, RuntimeLimits],
        threads: int,
        *,
        folder: Path | None = None,
        rates_hz: Mapping[str, float] | None = None,
        mapped: Collection[str] = (),
    ) -> None:
        self._runtimes = runtimes
        self._threads = threads
        self._folder = folder
        self._rates_hz = rates_hz or {}
        self._mapped = mapped

    def of(self, version: ModelVersion) -> RuntimeOptions:
        """What a worker of ``version`` that starts now is to run with."""
        kept = self.kept(version)
        return kept.options if kept is not None else self._start(version)

    def kept(self, version: ModelVersion) -> Choice | None:
        """What an earlier trial of ``version`` found here."""
        library = _library(version)
        if self._folder is None or not library:
            return None
        key = TuneKey(version.digest, library, cpu_model(), self._rate_hz(version), describe(self._start(version)))
        return kept_choice(self._folder, key)

    def try_out(self, version: ModelVersion) -> Choice:
        """Measure ``version`` here, in processes of their own, and keep the answer. Takes seconds. Raises EdgeError."""
        path = version.folder / version.manifest.model_file.path
        manifest = to_json(version.manifest).decode()
        subject = Subject(version.title, str(path), version.manifest.model_bytes, self._start(version), manifest, str(version.folder))
        kind = version.manifest.runtime.name
        return tune_apart(subject, kind, rate_hz=self._rate_hz(version), digest=version.digest, folder=self._folder)

    def _start(self, version: ModelVersion) -> RuntimeOptions:
        options = options_for(self._runtimes.get(version.manifest.runtime.name), self._threads)
        mapped = version.model in self._mapped and bool(version.manifest.weights_files)
        return replace(options, prepack=False) if mapped else options

    def _rate_hz(self, version: ModelVersion) -> float:
        return self._rates_hz.get(version.model, 0.0)


def rates_of(pipelines: Iterable[PipelineConfig]) -> dict[str, float]:
    """Windows a second by model, where the sources say how often they give samples."""
    rates: dict[str, float] = {}
    for pipeline in pipelines:
        samples_hz = pipeline.source.options.get("rate_hz")
        if isinstance(samples_hz, (int, float)) and samples_hz > 0:
            windows_hz = 1 / pipeline.hop_s if pipeline.hop_s else samples_hz / pipeline.hop
            for model in pipeline.models:
                rates[model] = rates.get(model, 0.0) + windows_hz
    return rates


def _library(version: ModelVersion) -> str:
    """As the trial names what it ran with."""
    found = onnx_library() if version.manifest.runtime.name == "onnx" else tflite_library()
    return " ".join(found) if found is not None else ""
