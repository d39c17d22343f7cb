"""The report: all that is known appears, nothing is fetched, nothing hostile gets through, the same tree gives the same bytes."""

from __future__ import annotations

import io
import json
import re
import struct
import xml.etree.ElementTree as ET
import zlib
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import converters.trying
from converters.__main__ import main
from converters.report.front import front
from converters.report.front_png import front_png
from converters.report.page import render
from converters.report.place import place
from converters.report.png import png
from converters.report.raster import Canvas
from converters.report.scales import axis
from converters.report.strokes import outline

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
MODEL = DIGITS / "digits_v1.onnx"
DECLARED = ["--samples", str(DIGITS / "samples.npz"), "--processing", str(DIGITS / "processing.toml")]
FEW = ["--profile", "rpi4", *DECLARED, "--evaluation", "120", "--calibration", "40", "--quiet"]
STRICT = ["--target", "onnx", "--scheme", "int8", "--no-search", "--max-drop", "0", "--strict"]
HOSTILE = '<script>alert("x")</script>\'"&'
VOID = ("meta", "br")


def candidate(number: int, **said: Any) -> dict[str, Any]:
    """One of a report tree; every third was not timed, every fifth is refused."""
    passed, timed = number % 5 != 4, number % 3 != 2
    variant = "" if number % 4 == 0 else f"pruned to {100 - 7 * number % 90} %"
    label = ", ".join(filter(None, (f"scheme{number // 4}-int8", variant)))
    held = {
        "label": label,
        "scheme": f"scheme{number // 4}-int8",
        "variant": variant,
        "kept_float": [],
        "bytes": 100_000 - 2_000 * number,
        "macs": 1000,
        "runtime": "onnxruntime",
        "runtime_version": "1.20",
        "proven_in": ["onnxruntime 1.20"],
        "metric": "top1",
        "measure": "accuracy",
        "samples": 200,
        "finite": True,
        "labelled": True,
        "original_accuracy": 0.95,
        "accuracy": 0.95 - 0.001 * number,
        "commonest": 0.1,
        "agreement": 0.99,
        "drop": 0.001 * number,
        "drop_low": -0.01,
        "drop_high": 0.02,
        "sqnr_db": 40.0 - number,
        "max_abs_error": 0.1,
        "threshold": None,
        "disagreements": [{"row": 7, "original": "cat", "candidate": "dog", "truth": "cat"}],
        "confusions": [{"original": "cat", "candidate": "dog", "count": 1, "lost": 1, "won": 0}],
        "notes": [f"a note of {number}"],
        "passed": passed,
        "reasons": [] if passed else [f"reason {number} is wrong"],
        "overridden": [],
        "latency_us": {"median_us": 20.0 + number, "p95_us": 40.0} if timed else None,
        "latency_ratio": {"median": 0.5, "low": 0.4, "high": 0.6} if timed else None,
    }
    return {**held, **said}


def tree(count: int = 6, **said: Any) -> dict[str, Any]:
    items = [candidate(number) for number in range(count)]
    held = {
        "name": "digits",
        "version": "1.0.0",
        "profiles": ["rpi4"],
        "chosen": items[0]["label"] if items else None,
        "why": "the first in the board's order",
        "pareto": [items[0]["label"]] if items else [],
        "source": {
            "file": "m.onnx",
            "format": "onnx",
            "bytes": 500_000,
            "sha256": "ab" * 32,
            "origin": "keras",
            "notes": ["a dropout was left out"],
            "latency_us": {"median_us": 60.0, "p95_us": 70.0},
        },
        "limits": {"max_drop": 0.01, "min_sqnr_db": 25.0, "confidence": 0.95},
        "candidates": items,
        "not_made": [{"scheme": "tflite-int8", "reason": "has a Loop", "variant": ""}],
        "calibration": {"samples": 40, "used": 39, "note": "", "rejected": [{"row": 33, "tensor": "conv1", "ratio": 32.9}]},
        "evaluation_samples": 200,
        "samples_shared": False,
        "passes": [
            {"name": "fold_constants", "changed": True, "nodes_before": 9, "nodes_after": 5},
            {"name": "drop_dead", "changed": False, "nodes_before": 5, "nodes_after": 5},
        ],
        "ranges": {"conv1": [-1.0, 2.0]},
        "sensitivity": [{"layer": "conv1", "op": "Conv", "sqnr_db": 31.0}, {"layer": "fc", "op": "Gemm", "sqnr_db": None}],
        "variants": [
            {"name": "", "macs": 1_000_000, "layers": []},
            {"name": "pruned to 93 %", "macs": 930_000, "layers": [{"name": "conv1", "before": 32, "after": 29}]},
        ],
        "scores": {"what": "score", "unit": "samples", "edges": [0.0, 0.5, 1.0], "original": [3, 197], "candidate": [5, 195], "beyond": 1},
        "golden_cases": 8,
        "recipe": {"seed": 0, "max_drop": 0.01, "strict": True},
        "tools": {"onnx": "1.17"},
        "measured_on": {"machine": "x86_64", "system": "Linux", "threads": 1, "of_the_boards_kind": False},
    }
    return {**held, **said}


def without_clock(held: dict[str, Any]) -> dict[str, Any]:
    """As it lies inside a bundle."""
    timed = ("passed", "reasons", "overridden", "latency_us", "latency_ratio")
    items = [{key: value for key, value in item.items() if key not in timed} for item in held["candidates"]]
    source = {key: value for key, value in held["source"].items() if key != "latency_us"}
    return {**{key: held[key] for key in held if key not in ("why", "pareto", "measured_on")}, "candidates": items, "source": source}


def refused(held: dict[str, Any]) -> dict[str, Any]:
    items = [{**item, "passed": False, "reasons": [f"reason of {item['label']}"]} for item in held["candidates"]]
    return {**held, "chosen": None, "candidates": items, "scores": None, "why": "no candidate passed"}


def unlabelled(held: dict[str, Any]) -> dict[str, Any]:
    return {**held, "candidates": [{**item, "labelled": False, "accuracy": None, "original_accuracy": None} for item in held["candidates"]]}


def signals(held: dict[str, Any]) -> dict[str, Any]:
    gone = dict.fromkeys(("accuracy", "original_accuracy", "agreement", "drop", "drop_low", "drop_high"))
    items = [{**item, **gone, "metric": "error", "labelled": False, "disagreements": [], "confusions": []} for item in held["candidates"]]
    return {**held, "candidates": [*items[:-1], {**items[-1], "sqnr_db": None, "finite": False}]}


def alarms(held: dict[str, Any]) -> dict[str, Any]:
    limit = {"declared": 0.4, "derived": 0.4625, "alarms": 0.05}
    items = [{**item, "metric": "autoencoder", "measure": "alarms", "threshold": limit} for item in unlabelled(held)["candidates"]]
    return {**held, "candidates": items}


def as_is(held: dict[str, Any]) -> dict[str, Any]:
    nothing = {"samples": 0, "used": 0, "rejected": [], "note": ""}
    item = candidate(0, label="onnx-as-is", scheme="onnx-as-is", sqnr_db=200.0, drop=0.0, disagreements=[], confusions=[])
    said = {"chosen": "onnx-as-is", "passes": [], "ranges": {}, "sensitivity": [], "variants": [], "calibration": nothing, "not_made": []}
    return {**held, "candidates": [item], **said}


def untimed(held: dict[str, Any]) -> dict[str, Any]:
    items = [{**item, "latency_us": None, "latency_ratio": None} for item in held["candidates"]]
    return {**held, "candidates": items, "pareto": [], "source": {**held["source"], "latency_us": None}}


TREES = {
    "usual": tree(),
    "one": tree(1),
    "24": tree(24),
    "40": tree(40),
    "none": {**tree(0), "scores": None},
    "inside a bundle": without_clock(tree(8)),
    "refused": refused(tree()),
    "unlabelled": unlabelled(tree()),
    "signals": signals(tree()),
    "alarms": alarms(tree()),
    "as it is": as_is(tree()),
    "untimed": untimed(tree()),
}


class Balance(HTMLParser):
    """Every tag that is opened is closed, in order; tags and addresses that were seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {name for name, _ in attrs} & {"src", "href", "srcset", "onclick", "onload"}
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)


@pytest.mark.parametrize("name", [name for name in TREES if name != "40"])
def test_the_page_is_whole_and_asks_for_nothing(name: str) -> None:
    page = render(TREES[name])
    balance = Balance()
    balance.feed(page)
    assert not balance.open
    assert not balance.seen & {"script", "link", "img", "iframe", "object"}
    assert "http" not in page and "url(" not in page and "@import" not in page
    assert page == render(json.loads(json.dumps(TREES[name])))
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for picture in pictures:
        root = ET.fromstring(picture)
        assert root.get("aria-hidden") == "true" or (root.get("role") == "img" and root.get("aria-label"))
    assert bool(pictures) == (name != "none")


@pytest.mark.parametrize("name", [name for name in TREES if name != "40"])
def test_every_candidate_and_every_reason_appears(name: str) -> None:
    held = TREES[name]
    text = unescape(render(held))
    for item in held["candidates"]:
        for words in (item["label"], *item.get("reasons", ()), *item["notes"], *item["proven_in"]):
            assert words in text
    for item in held["not_made"]:
        assert item["reason"] in text
    for note in held["source"]["notes"]:
        assert note in text
    for item in held["calibration"]["rejected"]:
        assert item["tensor"] in text and f"{item['ratio']:.1f} times" in text
    assert held["source"]["sha256"] in text


@pytest.mark.parametrize("name", ["usual", "40", "none", "inside a bundle", "refused", "signals", "untimed"])
def test_the_picture_is_a_png_of_1200_by_750(name: str) -> None:
    made = front_png(TREES[name])
    if name == "none":
        assert made is None
        return
    assert made is not None
    assert name != "usual" or made == front_png(json.loads(json.dumps(TREES[name])))
    with Image.open(io.BytesIO(made)) as image:
        image.load()
        assert (image.format, image.size, image.mode) == ("PNG", (1200, 750), "RGB")
        pixels = np.asarray(image).astype(int)
    assert (pixels[:4] == 255).all() and (pixels[-4:] == 255).all() and (pixels[:, -4:] == 255).all(), "nothing is cut off at the edges"
    assert (pixels.sum(axis=2) < 500).mean() > 0.005


def test_hostile_names_stay_text() -> None:
    held = tree(3, name=HOSTILE, profiles=[HOSTILE], why=HOSTILE, tools={HOSTILE: HOSTILE}, ranges={HOSTILE: [0.0, 1.0]})
    items = [
        {
            **item,
            "label": HOSTILE + str(at),
            "scheme": HOSTILE,
            "variant": "pruned" + HOSTILE,
            "kept_float": [HOSTILE],
            "reasons": [HOSTILE],
        }
        for at, item in enumerate(held["candidates"])
    ]
    items[0]["confusions"] = [{"original": HOSTILE, "candidate": HOSTILE, "count": 2, "lost": 1, "won": 1}]
    items[0]["disagreements"] = [{"row": 1, "original": HOSTILE, "candidate": "", "truth": HOSTILE}]
    held |= {"candidates": items, "chosen": items[0]["label"], "sensitivity": [{"layer": HOSTILE, "op": HOSTILE, "sqnr_db": 3.0}]}
    held |= {"passes": [{"name": HOSTILE, "changed": True, "nodes_before": 1, "nodes_after": 2}], "recipe": {HOSTILE: HOSTILE}}
    held["source"] |= {"file": HOSTILE, "notes": [HOSTILE], "origin": HOSTILE, "sha256": HOSTILE}
    held["variants"] = [{"name": items[0]["variant"], "macs": 0, "layers": [{"name": HOSTILE, "before": 0, "after": 0}]}]
    held["scores"] = {**held["scores"], "what": HOSTILE}
    held["not_made"] = [{"scheme": HOSTILE, "reason": HOSTILE, "variant": HOSTILE}]
    for each in (held, refused(held)):
        page = render(each)
        assert "<script" not in page and "alert(" in page
        for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
            ET.fromstring(picture)
        assert front_png(each)


def test_the_verdict_says_what_it_cost_and_whose_clock_it_was() -> None:
    text = unescape(render(tree()))
    assert "5.00 times smaller" in text and "2.00 times as fast here (1.67 to 2.50)" in text
    assert "95.00 %" in text and "(95 %: -1.00 to 2.00)" in text and "allowed: 1.00 points" in text
    assert "measured on this machine (Linux x86_64, one thread), not the board (rpi4)" in text
    inside = unescape(render(without_clock(tree())))
    assert "measured on" not in inside and " µs" not in inside
    no = unescape(render(refused(tree())))
    assert "Refused: nothing may leave" in no and "Chosen:" not in no


def test_what_changed_nothing_and_what_an_alarm_needs_is_said() -> None:
    text = unescape(render(alarms(tree())))
    assert "Changed nothing: drop dead." in text and "9 → 5" in text
    assert "alarm above 0.4625, the original's limit being 0.4" in text
    assert "limit of the chosen" in text
    assert "keras, translated to onnx" in text
    assert "limit of the chosen" not in render(tree())


def test_the_channels_of_the_chosen_pruned_network_are_listed() -> None:
    held = tree()
    held["chosen"] = next(item["label"] for item in held["candidates"] if item["variant"] == "pruned to 93 %")
    page = render(held)
    assert "Channels of the chosen network, pruned to 93 %" in page
    assert "all channels stay" in render(tree())


@pytest.mark.parametrize("by", ["size", "latency"])
@pytest.mark.parametrize("name", ["usual", "24", "signals", "inside a bundle"])
def test_numbers_in_the_front_never_overlap_and_stay_in_the_picture(name: str, by: str) -> None:
    drawing = front(TREES[name], by)
    if drawing is None:
        assert by == "latency" and name == "inside a bundle"
        return
    boxes = [(s.x, s.y, 7.0 * len(s.text)) for s in drawing.shapes if getattr(s, "kind", "") == "number"]  # type: ignore[union-attr]
    assert len(boxes) >= 4
    for at, (x, y, wide) in enumerate(boxes):
        assert x >= wide / 2 and x + wide / 2 <= drawing.width and 8 <= y <= drawing.height
        for other_x, other_y, other_wide in boxes[at + 1 :]:
            assert abs(x - other_x) >= (wide + other_wide) / 2 - 0.5 or abs(y - other_y) >= 10, (name, by)


def test_a_candidate_far_below_does_not_press_the_others_together() -> None:
    held = tree(6)
    held["candidates"][4] |= {"accuracy": 0.1, "drop": 0.85}
    drawing = front(held, "size")
    assert drawing is not None
    marks = {shape.title: shape.y for shape in drawing.shapes if hasattr(shape, "title")}
    numbers = [shape.text for shape in drawing.shapes if getattr(shape, "kind", "") == "number"]  # type: ignore[union-attr]
    assert "5↓" in numbers
    others = [y for title, y in marks.items() if not title.startswith("5:")]
    assert max(others) - min(others) > 60


def test_numbers_of_marks_on_one_spot_are_told_apart() -> None:
    spots = place([(200.0, 150.0)] * 24, [14.0] * 24, (0.0, 0.0, 400.0, 300.0))
    assert len(set(spots)) == 24
    assert all(abs(ax - bx) >= 14 or abs(ay - by) >= 11 for i, (ax, ay) in enumerate(spots) for bx, by in spots[i + 1 :])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_an_axis_holds_its_values_and_a_few_ticks(values: list[float], zero: bool, spread: bool) -> None:
    made = axis(values, zero=zero, spread=spread)
    assert made.low <= min(values) and max(values) <= made.high
    assert 1 <= len(made.ticks) <= 22 and list(made.ticks) == sorted(made.ticks)
    assert all(0 <= made.at(value) <= 1 for value in (*values, *made.ticks))


def test_pixels_come_back_from_the_png() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8)
    data = png(pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert (np.asarray(image) == pixels).all()
    at, kinds = 8, []
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        assert zlib.crc32(data[at + 4 : at + 8 + size]) == struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0]
        kinds.append(kind)
        at += 12 + size
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_lines_have_their_width_and_do_not_leave_the_canvas() -> None:
    canvas = Canvas(40, 20)
    canvas.lines([[(-50.0, 10.0), (90.0, 10.0)]], (0, 0, 0), 4.0)
    dark = 255 - canvas.pixels()[:, :, 0].astype(float)
    assert dark[:, 20].sum() / 255 == pytest.approx(4.0, abs=0.05)
    canvas.lines([[(500.0, 500.0), (600.0, 600.0)]], (0, 0, 0), 4.0)
    canvas.polygon([(30, 2), (38, 10), (30, 18), (22, 10)], (255, 0, 0))
    assert tuple(canvas.pixels()[10, 30]) == (255, 0, 0)
    assert tuple(canvas.pixels()[3, 23]) == (255, 255, 255)


def test_every_printable_letter_has_its_own_strokes() -> None:
    letters = [chr(code) for code in range(33, 127) if chr(code) not in "$\\^`{|}~"] + list("µ×²·…–→↓")
    drawn = {letter: outline(letter) for letter in letters}
    assert len({strokes for strokes, _ in drawn.values()}) == len(letters)
    assert all(-3.01 <= y <= 10.5 for strokes, _ in drawn.values() for stroke in strokes for _, y in stroke)
    assert outline("漢")[0] == outline("字")[0]


@pytest.fixture
def short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters.trying, "TIMING_S", 0.05)


@pytest.mark.usefixtures("short_timing")
def test_a_refused_build_leaves_its_report_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "why.html"
    options = ["--name", "m", "--version", "1", "-o", str(tmp_path / "m.edgemodel"), *STRICT]
    assert main(["build", str(MODEL), *FEW, *options, "--report", str(page)]) == 3
    assert f"the report is in {page}" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["why.html", "why.json"]  # one candidate makes no front
    assert "Refused" in page.read_text() and "is not proven to lose at most" in page.read_text()


@pytest.mark.usefixtures("short_timing")
def test_a_search_writes_page_json_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "found.html"
    assert main(["tune", str(MODEL), *FEW, "--scheme", "int8", "--force", "-o", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.front.png", "found.html", "found.json"]
    held = json.loads((tmp_path / "found.json").read_text())
    assert sum(held["scores"]["original"]) == held["evaluation_samples"] == sum(held["scores"]["candidate"])
    assert len(page.read_text()) == len(render(held)), "but for the order of names, which JSON sorts"
    assert (tmp_path / "found.front.png").read_bytes() == front_png(held)
    assert "Search for digits_v1.onnx" in page.read_text()


def test_an_axis_from_the_smallest_to_the_largest_number_has_ticks() -> None:
    assert axis([1.0, 2.225073858507203e-309], spread=True).ticks
