"""GET /: what is here, for a program as JSON and for a person as a page."""

from __future__ import annotations

import html
import json
import shlex
from math import prod
from typing import Any

from edge_agent.front.config_json import model_metadata
from edge_agent.front.lane import Lane

HTML = b"text/html; charset=utf-8"
MOST_SHOWN = 64
_LINKS = (("/v2", "server"), ("/v2/health/ready", "ready"), ("/v2/models/stats", "statistics"), ("/metrics", "metrics"))
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #888; --good: #2a8; --bad: #c63; }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h1 small, .quiet { color: var(--quiet); font-weight: normal; }
nav a { margin-right: 1rem; }
section { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1.5rem 0; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
.state { font-size: .8rem; font-weight: normal; border-radius: 1rem; padding: .1rem .6rem; margin-left: .5rem; }
.state { color: #fff; background: var(--bad); }
.state.serving { background: var(--good); }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td:nth-child(2) { white-space: normal; overflow-wrap: anywhere; }
th { color: var(--quiet); font-weight: normal; font-size: .85rem; }
pre { overflow-x: auto; background: #8881; padding: .7rem; border-radius: .4rem; font-size: .85rem; margin: .5rem 0 0; }
"""


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
    title, links = html.escape(name), "".join(f"<a href={path}>{word}</a>" for path, word in _LINKS)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title} <small>{html.escape(version)}</small></h1>"
        f"<p class=quiet>Models on this device, over the Open Inference Protocol.</p><nav>{links}</nav>"
        + ("".join(_model(lane, address) for lane in lanes) or "<p>No model is served.</p>")
    )


def _model(lane: Lane, address: str) -> str:
    heading = f"<h2>{html.escape(lane.name)}<span class='state {html.escape(lane.state)}'>{html.escape(lane.state)}</span></h2>"
    if lane.served is None:
        return f"<section>{heading}{html.escape(lane.reason)}</section>"
    known = model_metadata(lane.served)
    line = _line(shlex.quote(f"{address}/v2/models/{lane.name}/infer"), known, [spec.bytes_for(1) for spec in lane.served.manifest.inputs])
    return (
        f"<section>{heading}<div class=quiet>version {html.escape(lane.served.version)}, {html.escape(known['platform'])}</div>"
        f"<table><tr><th><th>tensor<th>type<th>shape{_rows('in', known['inputs'])}{_rows('out', known['outputs'])}</table>"
        f"<pre>{html.escape(line)}</pre></section>"
    )


def _rows(way: str, tensors: list[dict[str, Any]]) -> str:
    return "".join(f"<tr><td>{way}<td>{html.escape(t['name'])}<td>{t['datatype']}<td>{t['shape']}" for t in tensors)


def _line(url: str, known: dict[str, Any], sizes: list[int]) -> str:
    """Asks with zeros: as JSON where they are few, else as the bytes of the one input."""
    shapes = [[max(1, size) for size in tensor["shape"]] for tensor in known["inputs"]]
    if len(sizes) == 1 and prod(shapes[0]) > MOST_SHOWN:
        header = "'Inference-Header-Content-Length: 0'"
        return f"head -c {sizes[0]} /dev/zero | curl {url} -H {header} --data-binary @- -o answer.bin"
    data = [[0] * prod(shape) if prod(shape) <= MOST_SHOWN else ["..."] for shape in shapes]
    inputs = [{**t, "shape": shape, "data": zeros} for t, shape, zeros in zip(known["inputs"], shapes, data, strict=True)]
    return f"curl {url} -d {shlex.quote(json.dumps({'inputs': inputs}))}"
