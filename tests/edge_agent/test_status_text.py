"""``edge-agent status`` for people shows what went wrong, and every sink's account."""

from __future__ import annotations

from typing import Any

from edge_agent.status_text import model_lines, status_lines

COUNTERS = {"produced": 9, "processed": 5, "dropped": 2, "failed": 1, "in_flight": 1}
SINK = {"given": 5, "emitted": 3, "dropped": 0, "failed": 1, "waiting": 1}
MODEL: dict[str, Any] = {
    "name": "tiny",
    "version": "1",
    "state": "serving",
    "digest": "ab" * 32,
    "previous": None,
    "lane": "isolated",
    "pids": [5, 6],
    "options": "threads 2, arena off",
    "requests": 40,
    "errors": 2,
    "restarts": 3,
    "last_error": "",
}


def status(**pipeline: Any) -> dict[str, Any]:
    line = {"name": "line", "state": "running", "counters": COUNTERS, "restarts": 0, "sinks": {}, "last_error": "", "shadow": {}}
    return {
        "device": "d1",
        "profile": "rpi4",
        "agent_version": "1",
        "pid": 4,
        "broker": None,
        "models": [],
        "pipelines": [line | pipeline],
        "update": {"state": "IDLE", "command": None, "reason": ""},
        "outbox": {"queued": 0, "dropped": 0},
        "metrics": None,
        "processes": [{"role": "control", "pid": 4}],
    }


def test_a_pipeline_shows_its_sinks_its_error_and_its_shadow() -> None:
    shadow = {"digest": "cd" * 32, "windows": 7, "disagreed": 2, "max_difference": 0.1, "failed": 1}
    lines = list(status_lines(status(sinks={"line.jsonl": SINK}, last_error="no sensor", restarts=2, shadow=shadow)))
    assert "pipeline line: running, 9 samples in, 5 answered, 2 dropped, 1 failed, 1 in flight, 2 restarts" in lines
    assert "  sink line.jsonl: 5 given, 3 emitted, 0 dropped, 1 failed, 1 waiting" in lines
    assert "  last error: no sensor" in lines
    beside = "  beside it cdcdcdcdcdcd: 7 windows, 2 differ, 1 failed"
    assert beside in lines
    assert beside not in status_lines(status(shadow=shadow) | {"models": [MODEL | {"digest": "cd" * 32}]})


def test_a_model_shows_how_it_is_run_and_why_it_does_not_serve() -> None:
    (line,) = model_lines([MODEL])
    assert line == "model tiny@1: serving, 2 workers, threads 2, arena off, 40 requests, 2 failed, 3 restarts  abababababab"
    inline = MODEL | {"lane": "inline", "pids": [], "errors": 0, "restarts": 0, "requests": 0}
    assert list(model_lines([inline])) == ["model tiny@1: serving, inline, threads 2, arena off  abababababab"]
    assert list(model_lines([MODEL | {"last_error": "not a model"}]))[1] == "  error: not a model"


def test_a_model_that_is_not_there_is_one_line() -> None:
    missing = {"name": "gone", "version": "", "state": "missing", "digest": "", "previous": None}
    assert list(model_lines([missing])) == ["model gone: missing"]
