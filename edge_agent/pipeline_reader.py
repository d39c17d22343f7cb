"""One ``[[pipelines]]`` table to a :class:`~edge_agent.config.PipelineConfig`. Pure."""

from __future__ import annotations

from typing import Any

from edge_agent.config import PipelineConfig, SinkConfig, SourceConfig, StageConfig
from edge_agent.sinks.options import check_sink
from edge_agent.sources.options import check_source
from edge_agent.toml_section import Section

POLICIES = ("block", "drop_oldest", "latest_only")
FEEDS = ("output", "window", "box")
GAPS = ("hold", "nan", "skip")
LEAST_S = 0.001
"""Windows that begin more often are for counts of samples: a single late sample would make thousands of them due."""


def read_pipeline(s: Section) -> PipelineConfig:
    """The pipeline in ``s``; what is wrong goes to its problems."""
    d = PipelineConfig("", "", SourceConfig(""), ())
    source = s.section("source", required=True)
    length_s = s.number("length_s", d.length_s, low=0, high=86_400)
    sinks = s.sections("sinks")
    config = PipelineConfig(
        name=s.name("name", required=True),
        model=s.name("model", required=True),
        source=SourceConfig(*_kind(source, check_source)),
        sinks=tuple(SinkConfig(*_kind(sink, check_sink)) for sink in sinks),
        length=s.whole("length", d.length, low=1, high=1 << 20),
        hop=s.whole("hop", d.hop, low=1, high=1 << 20),
        queue=s.whole("queue", d.queue, low=1, high=1 << 20),
        policy=s.choice("policy", d.policy, POLICIES),
        length_s=length_s,
        hop_s=s.number("hop_s", 0.0, low=0, high=86_400) or length_s,
        on_gap=s.choice("on_gap", d.on_gap, GAPS),
        then=tuple(_stage(stage) for stage in s.sections("then")),
    )
    if not sinks:
        s.bad("sinks", 'is missing: say where predictions go, e.g. [[pipelines.sinks]] kind = "mqtt"')
    _check_window(config, s)
    if len(set(config.models)) != len(config.models):
        s.bad("then", "names a model twice; a pipeline asks each of its models once")
    s.done()
    return config


def _check_window(config: PipelineConfig, s: Section) -> None:
    if not config.length_s:
        for key in ("hop_s", "on_gap"):
            if s.has(key):
                s.bad(key, "needs length_s beside it: it is for windows by time")
        return
    for key, value_s in (("length_s", config.length_s), ("hop_s", config.hop_s)):
        if value_s < LEAST_S:
            s.bad(key, f"must be {LEAST_S:g} or more")
    if s.has("hop"):
        s.bad("hop", "is for windows by count: with length_s say hop_s, in seconds")
    if config.length < 2:
        s.bad("length", "is missing: how many rows a window of length_s seconds is brought to, 2 or more")


def _stage(s: Section) -> StageConfig:
    d = StageConfig("")
    config = StageConfig(s.name("model", required=True), s.choice("feed", d.feed, FEEDS), s.words("when"))
    s.done()
    return config


def _kind(s: Section, check: Any) -> tuple[str, dict[str, Any]]:
    kind = s.text("kind", "")
    options = s.rest()
    for key in ("path", "token_file", "tls_ca"):
        if isinstance(options.get(key), str) and options[key]:
            options[key] = str(s.base / options[key])
    if s.present:
        if not kind and not s.has("kind"):
            s.bad("kind", "is missing")
        elif kind:
            s.problems.extend(check(kind, options, s.where))
    return kind, options
