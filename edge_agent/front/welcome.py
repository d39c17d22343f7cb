"""GET /: what is here, for a program as JSON and for a person as a page."""

from __future__ import annotations

import html
import json
from typing import Any

from edge_agent.front.config_json import model_metadata
from edge_agent.front.lane import Lane

HTML = b"text/html; charset=utf-8"


def welcome_tree(name: str, version: str, lanes: list[Lane]) -> dict[str, Any]:
    """Name, version, models with their inputs, and where to ask."""
    return {
        "name": name,
        "version": version,
        "models": [{"state": lane.state, **(model_metadata(lane.served) if lane.served else {"name": lane.name})} for lane in lanes],
        "paths": ["/predict/MODEL", "/v2", "/v2/health/ready", "/v2/models/MODEL/infer", "/v1/models/MODEL:predict", "/metrics"],
    }


def welcome_page(name: str, version: str, lanes: list[Lane], address: str) -> str:
    """The same as a page, with a line for each model that can be pasted into a shell."""
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(name)}</title><h1>{html.escape(name)} {html.escape(version)}</h1>"]
    for lane in lanes:
        parts.append(f"<h2>{html.escape(lane.name)}</h2>")
        if lane.served is None:
            parts.append(f"<p>{html.escape(lane.reason or lane.state)}</p>")
            continue
        inputs = ", ".join(f"{t['name']} {t['datatype']} {t['shape']}" for t in model_metadata(lane.served)["inputs"])
        line = f"curl {address}/v2/models/{lane.name}/infer -d '{json.dumps(_example(lane))}'"
        parts.append(f"<p>version {html.escape(lane.served.version)}, takes {html.escape(inputs)}</p><pre>{html.escape(line)}</pre>")
    return "".join(parts)


def _example(lane: Lane) -> dict[str, Any]:
    assert lane.served is not None
    inputs = []
    for tensor in model_metadata(lane.served)["inputs"]:
        shape = [max(1, size) for size in tensor["shape"]]
        count = 1
        for size in shape:
            count *= size
        inputs.append({**tensor, "shape": shape, "data": [0] * count if count <= 64 else ["..."]})
    return {"inputs": inputs}
