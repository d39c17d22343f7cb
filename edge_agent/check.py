"""``edge-agent check``: everything wrong with a configuration, before the device finds out in the cabinet."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

from edge_agent.board import choose_profile, device_facts, require_runtime, require_update_libraries
from edge_agent.bundle.archive import read_manifest
from edge_agent.bundle.manifest import Manifest
from edge_agent.config import AgentConfig, PipelineConfig
from edge_agent.config_file import load_config
from edge_agent.errors import BundleError, ConfigError, EdgeError, Problem
from edge_agent.places import Places
from edge_agent.serving.grpc_process import grpc_problem
from edge_agent.sources.needs import missing_need
from edge_agent.stages import stage_problems
from edge_agent.update.compatibility import DeviceFacts, unfit
from edge_agent.update.store import FileStore


def check_config(path: Path, *, as_json: bool) -> int:
    """Print the verdict; returns 0 when the agent would start with this file, else 2."""
    try:
        config = load_config(path)
        problems = _check_machine(config)
    except ConfigError as error:
        problems = list(error.problems)
    if as_json:
        print(json.dumps({"ok": not problems, "problems": [{"where": p.where, "what": p.what} for p in problems]}))
    elif problems:
        for problem in problems:
            print(problem if problem.where == str(path) else f"{path}: {problem}")
        print(f"{path}: {len(problems)} problem{'s' if len(problems) != 1 else ''}")
    else:
        print(f"{path}: fine (models: {len(config.models)}, pipelines: {len(config.pipelines)})")
    return 2 if problems else 0


def _check_machine(config: AgentConfig) -> list[Problem]:
    """What only this machine can tell: files that are missing, folders that cannot be written, an unknown profile."""
    problems: list[Problem] = []
    facts: DeviceFacts | None = None
    try:
        facts = device_facts(choose_profile(config.device.profile))
    except ConfigError as error:
        problems.extend(error.problems)
    for require in (require_runtime, lambda: require_update_libraries(config.updates.repository)):
        try:
            require()
        except ConfigError as error:
            problems.extend(error.problems)
    files = {
        "mqtt.password_file": config.mqtt.password_file,
        "mqtt.tls_ca": config.mqtt.tls_ca,
        "mqtt.tls_cert": config.mqtt.tls_cert,
        "mqtt.tls_key": config.mqtt.tls_key,
        "updates.trusted_root": config.updates.trusted_root,
        "api.token_file": config.api.token_file,
    }
    if config.api.grpc and (lack := grpc_problem("api.grpc")) is not None:
        problems.append(lack)
    for key, file in files.items():
        if file is not None and not os.access(file, os.R_OK):
            problems.append(Problem(key, f"{file} is missing or not readable"))
    for i, pipeline in enumerate(config.pipelines):
        source = pipeline.source
        if source.kind == "replay" and not os.access(str(source.options.get("path", "")), os.R_OK):
            problems.append(Problem(f"pipelines[{i}].source.path", f"{source.options.get('path')} is missing or not readable"))
        key, what = missing_need(source.kind, source.options)
        if key:
            problems.append(Problem(f"pipelines[{i}].source.{key}", what))
        problems.extend(_check_sinks(f"pipelines[{i}]", pipeline))
    problems.extend(_check_bundles(config, facts))
    problems.extend(_check_stages(config))
    for key, folder in (("device.state_dir", config.device.state_dir), ("device.runtime_dir", config.device.runtime_dir)):
        standing = next(p for p in (folder, *folder.parents) if p.exists())
        if not standing.is_dir() or not os.access(standing, os.W_OK):
            problems.append(Problem(key, f"{folder} cannot be written by this user"))
    return problems


def _check_sinks(where: str, pipeline: PipelineConfig) -> list[Problem]:
    """Programs and files that sinks need and this machine does not have."""
    problems = []
    for j, sink in enumerate(pipeline.sinks):
        if sink.kind == "exec" and shutil.which(str(sink.options["command"][0])) is None:
            problems.append(Problem(f"{where}.sinks[{j}].command", f"{sink.options['command'][0]} is not a program here"))
        for key in ("token_file", "tls_ca"):
            file = sink.options.get(key)
            if file is not None and not os.access(str(file), os.R_OK):
                problems.append(Problem(f"{where}.sinks[{j}].{key}", f"{file} is missing or not readable"))
    return problems


def _check_stages(config: AgentConfig) -> list[Problem]:
    """Models that do not fit one after the other, as they are installed here or are to be."""
    manifests = {}
    for model in config.models:
        with contextlib.suppress(EdgeError, OSError):
            manifest = _installed(config.device.state_dir, model.name) or (model.bundle and read_manifest(model.bundle))
            if manifest:
                manifests[model.name] = manifest
    found = [(i, *problem) for i, pipeline in enumerate(config.pipelines) for problem in stage_problems(pipeline, manifests)]
    return [Problem(f"pipelines[{i}].{key}", what) for i, key, what in found]


def _installed(state_dir: Path, model: str) -> Manifest | None:
    """The manifest of the version that serves, or would; nothing is made where there is no store yet."""
    folder = Places(state_dir).store
    if not (folder / "active").is_dir():
        return None
    store = FileStore(folder)
    digest = store.active(model)
    return store.manifest(digest) if digest else None


def _check_bundles(config: AgentConfig, facts: DeviceFacts | None) -> list[Problem]:
    """Bundles that cannot be read or would not be installed here; without ``facts`` of the device, only the former."""
    problems: list[Problem] = []
    for i, model in enumerate(config.models):
        if model.bundle is None:
            continue
        where = f"models[{i}].bundle"
        try:
            manifest = read_manifest(model.bundle)
        except BundleError as error:
            problems.append(Problem(where, str(error)))
            continue
        except OSError as error:
            problems.append(Problem(where, f"{model.bundle}: {error.strerror}"))
            continue
        if manifest.name != model.name:
            problems.append(Problem(where, f"is a bundle of {manifest.name!r}, not of {model.name!r}"))
        if facts is not None:
            problems.extend(Problem(where, f"{model.bundle}: {reason}") for reason in unfit(manifest, facts))
    return problems
