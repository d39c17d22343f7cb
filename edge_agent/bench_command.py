"""``edge-agent bench``: from what was typed to subjects, and from figures to the terminal."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device_profiles.detect import detect
from device_profiles.load import load_profile
from device_profiles.schema import DeviceProfile, ProfileError
from edge_agent.bench_disturbance import Disturbance
from edge_agent.bench_rounds import Plan, measure
from edge_agent.bench_subject import Subject
from edge_agent.bench_table import table, tuning_table
from edge_agent.board import choose_profile
from edge_agent.bundle import archive
from edge_agent.bundle.manifest import to_json
from edge_agent.config_file import load_config
from edge_agent.errors import AgentUnreachable, CommandError, EdgeError, ModelError
from edge_agent.runtimes.options import options_for
from edge_agent.tuning_apart import tune_apart
from firmware_hooks.choose import choose_reader

Ask = Callable[[], list[dict[str, Any]]]
"""The models of the running agent. Raises AgentUnreachable."""

KINDS = {".onnx": "onnx", ".tflite": "tflite"}


def run(args: argparse.Namespace, ask: Ask) -> int:
    """Measure, or with ``--tune`` try options, and print."""
    profile = _profile(args.config)
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        sources = [_Source(name, _file(name, ask), Path(folder) / str(index), profile) for index, name in enumerate(args.model)]
        if args.tune:
            return _tune(args, sources)
        subjects = [source.subject(threads) for source in sources for threads in args.threads]
        disturbance = Disturbance(choose_reader(profile) if profile else None)
        busy = disturbance.at_start()
        results = measure(subjects, Plan(args.runs, args.seconds, args.warmup, ops=args.ops), disturbance)
    if args.json:
        print(json.dumps([{"model": r.file, **dataclasses.asdict(r), "busy": busy} for r in results], indent=2))
        return 0
    print("\n".join(table(results)))
    if busy:
        print(f"  {busy}")
    return 0


class _Source:
    """One model that was named: a file, or a bundle that is unpacked into ``folder`` for as long as that stands."""

    def __init__(self, name: str, path: Path, folder: Path, profile: DeviceProfile | None) -> None:
        self.name = name
        self.path = path
        self.file_bytes = path.stat().st_size
        self.manifest, self.folder, self.digest = "", "", ""
        self.kind = KINDS.get(path.suffix.lower(), "")
        if not self.file_bytes:
            raise ModelError(f"{path}: is empty")
        if path.suffix == archive.EXTENSION:
            manifest = archive.unpack(path, folder)
            self.path, self.kind = folder / manifest.model_file.path, manifest.runtime.name
            self.manifest, self.folder = to_json(manifest).decode(), str(folder)
        self._limits = profile.runtimes.get(self.kind) if profile else None

    def subject(self, threads: int) -> Subject:
        """To be run with ``threads`` and what the board's profile asks for."""
        options = options_for(self._limits, threads)
        return Subject(self.name, str(self.path.absolute()), self.file_bytes, options, self.manifest, self.folder)


def _tune(args: argparse.Namespace, sources: list[_Source]) -> int:
    choices = [(s.name, tune_apart(s.subject(1), s.kind, rate_hz=args.rate, digest="", folder=None)) for s in sources]
    if args.json:
        print(json.dumps([{"model": name, **dataclasses.asdict(choice)} for name, choice in choices], indent=2))
        return 0
    print("\n".join(line for name, choice in choices for line in tuning_table(name, choice)))
    return 0


def _profile(config: Path | None) -> DeviceProfile | None:
    """The board that ``config`` names, else what is known of this one; None where nothing is: models are measured everywhere."""
    if config is not None:
        return choose_profile(load_config(config).device.profile)
    try:
        return load_profile(detect().profile)
    except ProfileError:
        return None


def _file(name: str, ask: Ask) -> Path:
    """The file that ``name`` is, or that the running agent's model ``name`` has."""
    path = Path(name)
    if path.suffix in (*KINDS, archive.EXTENSION):
        if not path.is_file():
            raise CommandError(f"{path}: no such file")
        return path
    try:
        models = ask()
    except AgentUnreachable as error:
        raise AgentUnreachable(f"{name!r} is not a model file, and to ask the agent for it: {error}") from None
    for model in models:
        if model["name"] == name and model.get("model_file"):
            return Path(model["model_file"])
        if model["name"] == name:
            raise EdgeError(f"the agent has no version of the model {name!r} yet: it is {model['state']}")
    raise EdgeError(f"the agent has no model {name!r}; it has: {', '.join(m['name'] for m in models) or 'none'}")
