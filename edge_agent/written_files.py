"""Files that sinks write: one writer each, and none that the agent itself reads or keeps. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from os.path import normpath
from pathlib import Path

from edge_agent.config import AgentConfig, SinkConfig
from edge_agent.errors import Problem
from edge_agent.places import Places
from edge_agent.sinks.terms import kept_files


def check_written_files(config: AgentConfig, file: Path | None, problems: list[Problem]) -> None:
    """Two sinks on one file would rotate and mend it under each other's hands, and lose lines; what the agent keeps or reads, such as
    ``file``, its configuration, would be spoilt."""
    read = {normpath(path): key for key, path in _read_files(config)}
    if file is not None:
        read[normpath(file)] = "the configuration itself"
    seen: set[str] = set()
    for i, pipeline in enumerate(config.pipelines):
        for j, sink in enumerate(pipeline.sinks):
            mine = _written(sink)
            if wrong := next((what for path in mine if (what := _wrong(path, config, read, seen))), ""):
                problems.append(Problem(f"pipelines[{i}].sinks[{j}].path", f"{wrong}; name another file"))
            seen.update(mine)


def _wrong(path: str, config: AgentConfig, read: dict[str, str], seen: set[str]) -> str:
    if Places(config.device.state_dir).own(Path(path)):
        return f"{path} is the agent's own"
    if path in read:
        return f"{path} is already {read[path]}"
    return f"{path} is written by another sink already" if path in seen else ""


def _written(sink: SinkConfig) -> tuple[str, ...]:
    """The file of ``sink``, and those it becomes."""
    path = sink.options.get("path")
    if sink.kind != "jsonl" or not isinstance(path, str) or not path:
        return ()
    return tuple(normpath(one) for one in kept_files(path, sink.options))


def _read_files(config: AgentConfig) -> Iterator[tuple[str, Path | str]]:
    """Every file that something else of the configuration reads, by key."""
    mqtt = config.mqtt
    for key, path in (
        ("mqtt.password_file", mqtt.password_file),
        ("mqtt.tls_ca", mqtt.tls_ca),
        ("mqtt.tls_cert", mqtt.tls_cert),
        ("mqtt.tls_key", mqtt.tls_key),
        ("updates.trusted_root", config.updates.trusted_root),
        ("api.token_file", config.api.token_file),
        *((f"models[{i}].bundle", model.bundle) for i, model in enumerate(config.models)),
    ):
        if path is not None:
            yield key, path
    for i, pipeline in enumerate(config.pipelines):
        for where, options in (("source", pipeline.source.options), *((f"sinks[{j}]", s.options) for j, s in enumerate(pipeline.sinks))):
            keys = ("path",) if where == "source" else ("token_file", "tls_ca")
            yield from ((f"pipelines[{i}].{where}.{key}", options[key]) for key in keys if isinstance(options.get(key), str))
