"""The report as one HTML page: no scripts, no network, readable in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from converters.charts import Bar, Point, bars, scatter, spans

MAX_RANGES = 40

_STYLE = """
:root{color-scheme:light dark;--bg:#f7f8fa;--card:#fff;--text:#1b1f24;--soft:#5d6672;--line:#e2e6eb;--blue:#2563c9;--green:#16804a;
--grey:#98a1ad;--red:#c0392b}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1d2127;--text:#e7eaee;--soft:#9aa4b1;--line:#323841;--blue:#6ea3f5;
--green:#4cc38a;--grey:#6b7480;--red:#f0776a}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:1160px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0}h2{font-size:16px;margin:0 0 12px}
.wide{grid-column:1/-1}p{margin:6px 0}h1,p{overflow-wrap:anywhere}
.soft{color:var(--soft)}.badge{display:inline-block;padding:2px 10px;border-radius:99px;font-size:13px;font-weight:600;
color:var(--card);background:var(--green);vertical-align:4px;margin-left:10px}.badge.no{background:var(--red)}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:16px;margin-top:16px}
@media(max-width:520px){.grid2{grid-template-columns:1fr}}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:20px 0 0}
.card,.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;overflow-x:auto}
.tile b{display:block;font-size:22px;font-weight:650}.tile span{color:var(--soft);font-size:13px}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:right;white-space:nowrap;padding:6px 8px;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:500}tr.chosen td{font-weight:650}
svg{width:100%;height:auto;display:block}svg text{fill:var(--text);font:12px system-ui,sans-serif}
svg .tick,svg .axis{fill:var(--soft);font-size:11px}
svg .grid{stroke:var(--line)}.source{fill:var(--grey)}.chosen{fill:var(--green)}.passed{fill:var(--blue)}.refused{fill:var(--red)}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
"""


def render(tree: Mapping[str, Any]) -> str:
    """The page for a report tree (``findings.report_tree``)."""
    title = f"{tree['name']} {tree['version']}"
    body = [
        _head(tree, title),
        _tiles(tree),
        '<div class="grid2">',
        _card("Quality against size", _quality_chart(tree)),
        _card("Latency on the machine that built it, one thread", _latency_chart(tree)) if "why" in tree else "",
        "</div>",
        '<div class="grid2">',
        _card("Candidates", _candidates(tree), wide=True),
        _card("Samples on which the classes differ", _disagreements(tree)),
        _card("Calibration", _calibration(tree)),
        _card("Passes and tools", _passes(tree)),
        "</div>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def _head(tree: Mapping[str, Any], title: str) -> str:
    chosen = tree["chosen"]
    badge = f'<span class="badge">{escape(chosen)}</span>' if chosen else '<span class="badge no">refused</span>'
    why = f"<p>{escape(tree['why'])}.</p>" if "why" in tree else ""
    source = tree["source"]
    return (
        f"<h1>{escape(title)}{badge}</h1><p class='soft'>For {escape(', '.join(tree['profiles']))}, from {escape(source['file'])} "
        f"(<code>sha256 {source['sha256'][:16]}…</code>), judged on {tree['evaluation_samples']} samples.</p>{why}"
    )


def _tiles(tree: Mapping[str, Any]) -> str:
    item = _chosen(tree)
    if item is None:
        return ""
    source_bytes = tree["source"]["bytes"]
    tiles = [
        (f"{item['bytes'] / 1000:.1f} kB", f"model, was {source_bytes / 1000:.1f} kB ({source_bytes / item['bytes']:.2f} times smaller)")
    ]
    if item["accuracy"] is not None:
        tiles.append((f"{100 * item['accuracy']:.2f} %", f"accuracy, was {100 * item['original_accuracy']:.2f} %"))
    if item["agreement"] is not None:
        tiles.append((f"{100 * item['agreement']:.2f} %", "same class as the original"))
    tiles.append((f"{_db(item['sqnr_db'])}", "signal to quantization noise"))
    if item.get("latency_us"):
        factor = 1 / item["latency_ratio"]["median"]
        tiles.append((f"{item['latency_us']['median_us']:.1f} µs", f"an inference here, {factor:.2f} times as fast as the original"))
    made = "".join(f'<div class="tile"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small in tiles)
    return f'<div class="tiles">{made}</div>'


def _quality_chart(tree: Mapping[str, Any]) -> str:
    points = []
    labelled = all(item["accuracy"] is not None for item in tree["candidates"])
    classes = all(item["agreement"] is not None for item in tree["candidates"])
    key, title = (
        ("accuracy", "accuracy, %") if labelled else ("agreement", "agreement, %") if classes else ("sqnr_db", "signal to noise, dB")
    )
    for item in tree["candidates"]:
        value = item[key] if item[key] is not None else 0.0
        points.append(Point(item["label"], item["bytes"] / 1000, value if key == "sqnr_db" else 100 * value, _kind(tree, item)))
    if not points:
        return "<p class='soft'>No candidate could be made.</p>"
    if key != "sqnr_db":
        original = tree["candidates"][0]["original_accuracy"] if labelled else 1.0
        points.insert(0, Point("original", tree["source"]["bytes"] / 1000, 100 * original, "source"))
    return scatter(points, "model size, kB", title)


def _latency_chart(tree: Mapping[str, Any]) -> str:
    """Bars are medians; the factors come from pairs of runs taken together, which a busy machine disturbs less."""
    if not tree["source"].get("latency_us"):
        return "<p class='soft'>Nothing was timed.</p>"
    original = tree["source"]["latency_us"]["median_us"]
    items = [Bar("original", original, f"{original:.1f} µs", "source")]
    for item in tree["candidates"]:
        if item["latency_us"] is None:
            continue
        spent = item["latency_us"]["median_us"]
        times_as_fast = 1 / item["latency_ratio"]["median"]
        items.append(Bar(item["label"], spent, f"{spent:.1f} µs ({times_as_fast:.2f}x)", _kind(tree, item)))
    return bars(items, "latency by candidate")


def _candidates(tree: Mapping[str, Any]) -> str:
    rows = []
    for item in tree["candidates"]:
        drop = "–" if item["drop"] is None else f"{100 * item['drop']:.2f}"
        interval = "–" if item["drop_low"] is None else f"{100 * item['drop_low']:.2f} … {100 * item['drop_high']:.2f}"
        cells = [
            item["label"],
            f"{item['bytes'] / 1000:.1f}",
            drop,
            interval,
            _db(item["sqnr_db"]),
            f"{item['runtime']} {item['runtime_version']}",
        ]
        rows.append((cells, "chosen" if item["label"] == tree["chosen"] else ""))
    table = _table(("scheme", "kB", "points lost", "95 % interval", "signal to noise", "proven in"), rows)
    said = [f"{item['label']}: {text}" for item in tree["candidates"] for text in (*item.get("reasons", ()), *item["notes"])]
    said += [f"{item['scheme']} not made: {item['reason']}" for item in tree["not_made"]]
    return table + "".join(f"<p class='soft'>{escape(text)}</p>" for text in dict.fromkeys(said))


def _disagreements(tree: Mapping[str, Any]) -> str:
    item = _chosen(tree)
    if item is None or item["agreement"] is None:
        return "<p class='soft'>Nothing to compare.</p>"
    if not item["disagreements"]:
        return "<p class='soft'>None: the packed model gives the original's class on every sample.</p>"
    rows = [([str(d["row"]), d["original"] or "–", d["candidate"] or "–", d["truth"] or "–"], "") for d in item["disagreements"]]
    return _table(("sample row", "original", "packed", "true class"), rows)


def _calibration(tree: Mapping[str, Any]) -> str:
    held = tree["calibration"]
    if not held["samples"]:
        return "<p class='soft'>Not needed: nothing was quantized.</p>"
    said = [f"{held['used']} of {held['samples']} samples used.", held["note"]]
    if tree["samples_shared"]:
        said.append("Too few samples to keep some apart: calibration and evaluation used the same ones.")
    text = "".join(f"<p class='soft'>{escape(line)}</p>" for line in said if line)
    if held["rejected"]:
        rows = [([str(r["row"]), r["tensor"], f"{r['ratio']:.1f}"], "") for r in held["rejected"]]
        text += "<p>Left out as outliers:</p>" + _table(("sample row", "widest in tensor", "times the median"), rows)
    ranges = [(name, low, high) for name, (low, high) in list(tree["ranges"].items())[:MAX_RANGES]]
    return text + spans(ranges, "calibrated ranges by tensor")


def _passes(tree: Mapping[str, Any]) -> str:
    rows = [([p["name"], f"{p['nodes_before']} → {p['nodes_after']}" if p["changed"] else "changed nothing"], "") for p in tree["passes"]]
    tools = ", ".join(f"{name} {version}" for name, version in tree["tools"].items())
    table = _table(("pass", "nodes"), rows) if rows else "<p class='soft'>None: the file is packed as it is.</p>"
    return f"{table}<p class='soft'>{escape(tools)}</p>"


def _chosen(tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((item for item in tree["candidates"] if item["label"] == tree["chosen"]), None)


def _kind(tree: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    if item["label"] == tree["chosen"]:
        return "chosen"
    return "passed" if item.get("passed", True) else "refused"


def _table(head: Sequence[str], rows: Sequence[tuple[Sequence[str], str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(f'<tr class="{kind}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells, kind in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"


def _card(title: str, body: str, *, wide: bool = False) -> str:
    kind = "card wide" if wide else "card"
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{body}</section>'


def _db(value: float | None) -> str:
    return "exact" if value is None or value > 180 else f"{value:.1f} dB"
