"""Draws the pictures of the documentation: ``python docs/pictures/draw.py`` writes the SVG files beside it.

Boxes stand on a grid (column, row); arrows join them. Both light and dark pages can show the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

COLUMN, ROW, WIDTH, HEIGHT, MARGIN, TOP = 224, 104, 150, 62, 28, 74
STYLE = """
  text { font: 13px system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; fill: #1c2733 }
  .small { font-size: 11px; fill: #52616f }
  .over { paint-order: stroke; stroke: #fbfcfd; stroke-width: 4px } .title { font-size: 15px; font-weight: 600 }
  .box { fill: #ffffff; stroke: #5b7083; stroke-width: 1.3 } .key { fill: #e3f1ea; stroke: #2f7d5b }
  .warn { fill: #fdeee3; stroke: #b5622a } .zone { fill: #f1f5f8; stroke: #c8d3dc; stroke-dasharray: 5 4 }
  .arrow { stroke: #5b7083; stroke-width: 1.5; fill: none; marker-end: url(#tip) } .back { stroke: #b5622a; stroke-dasharray: 5 3 }
"""


@dataclass(frozen=True)
class Box:
    column: float
    row: float
    name: str
    note: str = ""
    kind: str = ""
    width: int = WIDTH

    @property
    def x(self) -> float:
        return MARGIN + self.column * COLUMN

    @property
    def y(self) -> float:
        return TOP + self.row * ROW

    def svg(self) -> str:
        middle = self.x + self.width / 2
        lines = self.note.split("|") if self.note else []
        top = self.y + HEIGHT / 2 + 5 - 7.5 * len(lines)
        text = f'<text x="{middle}" y="{top}" text-anchor="middle">{escape(self.name)}</text>'
        for i, line in enumerate(lines, 1):
            text += f'<text class="small" x="{middle}" y="{top + 15 * i}" text-anchor="middle">{escape(line)}</text>'
        return f'<rect class="box {self.kind}" x="{self.x}" y="{self.y}" width="{self.width}" height="{HEIGHT}" rx="9"/>{text}'


@dataclass(frozen=True)
class Arrow:
    start: str
    end: str
    note: str = ""
    kind: str = ""
    bend: float = 0


@dataclass(frozen=True)
class Zone:
    column: float
    row: float
    columns: float
    rows: float
    name: str

    def svg(self) -> str:
        x, y = MARGIN + self.column * COLUMN - 14, TOP + self.row * ROW - 28
        width, height = self.columns * COLUMN - (COLUMN - WIDTH) + 28, self.rows * ROW - (ROW - HEIGHT) + 42
        label = f'<text class="small" x="{x + 12}" y="{y + 18}">{escape(self.name)}</text>'
        return f'<rect class="zone" x="{x}" y="{y}" width="{width}" height="{height}" rx="14"/>{label}'


def edge_points(a: Box, b: Box) -> tuple[float, float, float, float]:
    """Where an arrow leaves ``a`` and enters ``b``: sides when they share a row, else top and bottom."""
    if abs(a.row - b.row) < 0.4 or (abs(a.column - b.column) >= 1 and abs(a.row - b.row) < 1):
        left_to_right = b.column > a.column
        return (a.x + a.width if left_to_right else a.x, a.y + HEIGHT / 2, b.x if left_to_right else b.x + b.width, b.y + HEIGHT / 2)
    down = b.row > a.row
    return (a.x + a.width / 2, a.y + HEIGHT if down else a.y, b.x + b.width / 2, b.y if down else b.y + HEIGHT)


def arrow_svg(arrow: Arrow, boxes: dict[str, Box]) -> str:
    x1, y1, x2, y2 = edge_points(boxes[arrow.start], boxes[arrow.end])
    mx, my = (x1 + x2) / 2, (y1 + y2) / 2 + arrow.bend
    path = f'<path class="arrow {arrow.kind}" d="M{x1},{y1} Q{mx},{my} {x2},{y2}"/>'
    if not arrow.note:
        return path
    flat = abs(y1 - y2) < 1
    tx, ty, anchor = (mx, my - 7 + (0 if not arrow.bend else -arrow.bend / 2), "middle") if flat else (mx + 8, my + 4, "start")
    return path + f'<text class="small over" x="{tx}" y="{ty}" text-anchor="{anchor}">{escape(arrow.note)}</text>'


def draw(name: str, title: str, boxes: list[Box], arrows: list[Arrow], zones: tuple[Zone, ...] = ()) -> None:
    known = {b.name: b for b in boxes}
    width = max([b.x + b.width for b in boxes] + [0]) + MARGIN + 10
    height = max(b.y for b in boxes) + HEIGHT + MARGIN + 12
    parts = [z.svg() for z in zones] + [arrow_svg(a, known) for a in arrows] + [b.svg() for b in boxes]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' role="img" aria-label="{escape(title)}"><style>{STYLE}</style>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#5b7083"/></marker></defs>'
        f'<rect width="100%" height="100%" fill="#fbfcfd" rx="12"/><text class="title" x="{MARGIN}" y="28">{escape(title)}</text>'
        + "".join(parts)
        + "</svg>\n"
    )
    (Path(__file__).parent / f"{name}.svg").write_text(svg)


def main() -> None:
    draw(
        "overview",
        "A trained model goes in; a healthy fleet comes out",
        [
            Box(0, 0.5, "model file", "ONNX, TFLite"),
            Box(1, 0.5, "edge-convert", "quantize, prove,|gate, pack", "key"),
            Box(2, 0.5, "bundle", "one file with|its evidence"),
            Box(3, 0.5, "edge-fleet", "sign (TUF), serve,|deploy (MQTT)", "key"),
            Box(4.25, 0, "edge-agent", "try, swap,|watch, roll back", "key"),
            Box(4.25, 1, "edge-agent ", "the same on|every board", "key"),
            Box(5.25, 0, "sensors", "", "", 90),
            Box(5.25, 1, "sensors ", "", "", 90),
        ],
        [
            Arrow("model file", "edge-convert"),
            Arrow("edge-convert", "bundle"),
            Arrow("bundle", "edge-fleet"),
            Arrow("edge-fleet", "edge-agent"),
            Arrow("edge-fleet", "edge-agent "),
            Arrow("sensors", "edge-agent"),
            Arrow("sensors ", "edge-agent "),
        ],
        (Zone(4.25, 0, 1.75, 2, "devices"),),
    )
    draw(
        "inference",
        "Inference: arguments go down the line and never come back",
        [
            Box(0, 0, "source", "serial, camera, iio,|audio, mqtt, ..."),
            Box(1, 0, "bounded queue", "block, drop oldest,|latest only"),
            Box(2, 0, "window", "by count or time,|gaps marked"),
            Box(3, 0, "preprocess", "from the manifest"),
            Box(3.5, 1.4, "model worker", "shared memory, eventfd,|processes per version", "key"),
            Box(4, 0, "postprocess", "label, score, boxes"),
            Box(5, 0, "sinks", "mqtt, file, gpio,|webhook, ..."),
            Box(0.9, 1.4, "other programs", "V2, TF Serving,|/predict, gRPC"),
            Box(2.2, 1.4, "local API", "deadline, bounded|queue, replay"),
        ],
        [
            Arrow("source", "bounded queue", "Sample"),
            Arrow("bounded queue", "window"),
            Arrow("window", "preprocess", "Window"),
            Arrow("preprocess", "model worker", "arrays"),
            Arrow("model worker", "postprocess", "arrays"),
            Arrow("postprocess", "sinks", "Prediction"),
            Arrow("other programs", "local API", "HTTP"),
            Arrow("local API", "model worker", "tensors"),
        ],
        (
            Zone(0, 0, 6, 1, "pipeline process"),
            Zone(2.2, 1.4, 1, 1, "api process"),
            Zone(3.5, 1.4, 1, 1, "worker process"),
        ),
    )
    draw(
        "update",
        "Update: one table; the journal is written and synced before every act",
        [
            Box(0, 0, "IDLE", "serving"),
            Box(1, 0, "FETCHING", "signed target,|resumed"),
            Box(2, 0, "VERIFYING", "hash, manifest,|this device"),
            Box(3, 0, "TRYING", "golden inputs in|the process to be", "key"),
            Box(4, 0, "ACTIVATING", "pointer, then flip", "key"),
            Box(4, 1.3, "WATCHING", "health against|the one before", "key"),
            Box(2.5, 1.3, "ROLLING_BACK", "pointer back, flip", "warn"),
            Box(1, 1.3, "BROKEN", "nothing to go|back to", "warn"),
        ],
        [
            Arrow("IDLE", "FETCHING"),
            Arrow("FETCHING", "VERIFYING"),
            Arrow("VERIFYING", "TRYING"),
            Arrow("TRYING", "ACTIVATING"),
            Arrow("ACTIVATING", "WATCHING"),
            Arrow("ACTIVATING", "ROLLING_BACK", "failed, power lost", "back"),
            Arrow("WATCHING", "ROLLING_BACK", "unhealthy", "back"),
            Arrow("ROLLING_BACK", "IDLE", "the one before serves", "back"),
            Arrow("ROLLING_BACK", "BROKEN", "", "back"),
        ],
    )
    draw(
        "conversion",
        "Conversion: never a worse model unsaid",
        [
            Box(0, 0, "load", "checked, on a copy"),
            Box(1, 0, "passes", "fold, fix shapes"),
            Box(2, 0, "calibrate", "one pass, outliers|named"),
            Box(3, 0, "targets", "ONNX int8, float|TFLite int8, float"),
            Box(4, 0, "prove", "load, run, agree,|time: in a child", "key"),
            Box(4, 1.15, "gate", "accuracy, size,|latency", "key"),
            Box(3, 1.15, "pack", "golden inputs,|report, manifest"),
            Box(2, 1.15, "bundle", "one file"),
            Box(5, 1.15, "refused", "with every reason,|nothing written", "warn"),
        ],
        [
            Arrow("load", "passes"),
            Arrow("passes", "calibrate"),
            Arrow("calibrate", "targets"),
            Arrow("targets", "prove"),
            Arrow("prove", "gate"),
            Arrow("gate", "pack"),
            Arrow("pack", "bundle"),
            Arrow("gate", "refused", "", "back"),
        ],
    )


if __name__ == "__main__":
    main()
