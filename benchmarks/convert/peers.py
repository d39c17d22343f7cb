"""Float ONNX to calibrated int8, ours beside the peers': the same networks, the same 200 calibration images, each peer in its own newest
environment. Taken are what the file is worth (size, signal to noise, accuracy, latency where it loads in our runtimes), what it cost (wall
time and memory of a cold process, weight of the environment), and whether the file that was given is still the same afterwards.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert.cold import memory_of
from benchmarks.convert.files import CALIBRATION, judged, logits, samples, table
from benchmarks.convert.peers_homes import WANTED, Home, home
from benchmarks.nets.digits import SIZES, images, model
from converters.timing import latency, ratio
from edge_agent.bundle.archive import read_bundle, sha256_file

SCRIPT = Path(__file__).with_name("peers_make.py")
TIMED_S = 2.5
TIMED_IMAGES = 8
OURS = ("edge-convert onnx", "edge-convert tflite")
ONE_STEP = {
    "onnxruntime, its best": ("onnxruntime", "onnxruntime_quantization"),
    "onnxruntime, defaults": ("onnxruntime", "onnxruntime_defaults"),
    "nncf": ("nncf", "nncf"),
}
"""Peers that take the ONNX file and write one: environment and function."""


def measure() -> dict[str, object]:
    """``homes``: version, MB and distributions of each environment, or why it is not at hand; ``nets``: by network and way what was
    found."""
    homes = {peer: home(peer) for peer in WANTED}
    with tempfile.TemporaryDirectory(prefix="edge-peers-") as name:
        found = {net: _measured(net, Path(name), homes) for net in SIZES}
    told = {
        peer: at if isinstance(at, str) else {"version": at.version, "mb": at.mb, "distributions": at.distributions}
        for peer, at in homes.items()
    }
    return {"homes": told, "nets": found}


def _measured(net: str, folder: Path, homes: dict[str, Home | str]) -> dict[str, dict[str, Any]]:
    room = folder / net
    room.mkdir()
    x, _, test, labels = images(net)
    np.save(room / "calibration.npy", x[:CALIBRATION])
    np.save(room / "test.npy", test)
    np.save(room / "timed.npy", test[:TIMED_IMAGES])
    files: dict[str, Path] = {}
    found = {way: _ours(net, room, way.rpartition(" ")[2], files, way) for way in OURS}
    for way, (peer, function) in ONE_STEP.items():
        found[way] = _theirs(way, homes[peer], function, model(net), room, files)
    found.update(_through_tflite(net, room, homes, files))
    reference = logits(model(net), test)
    for way, path in files.items():
        found[way].update(bytes=path.stat().st_size, smaller=model(net).stat().st_size / path.stat().st_size)
        answers = _answers(path, room)
        found[way].update(judged(answers, reference, labels) if not isinstance(answers, str) else {"broken": answers})
    _time(net, room, {way: path for way, path in files.items() if "broken" not in found[way]}, found)
    return found


def _ours(net: str, room: Path, target: str, files: dict[str, Path], way: str) -> dict[str, Any]:
    """The command as people give it, proof, gate, golden cases and report included."""
    copy, out = room / f"ours-{target}" / f"{net}.onnx", room / f"ours-{target}" / "m.edgemodel"
    copy.parent.mkdir()
    shutil.copyfile(model(net), copy)
    given = samples(net, room / "samples.npz")
    words = ["--profile", "generic-x86-64", "--target", target, "--scheme", "int8", "--no-search", "-q", "--name", "m", "--version", "1"]
    words += ["--pack-weights", "inside"]  # the file alone is judged
    command = [sys.executable, "-m", "converters", "build", str(copy), "--samples", str(given), "-o", str(out), *words]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    facts: dict[str, Any] = {"wall_s": time.perf_counter() - began, "status": done.returncode, "kept": _same(copy, model(net))}
    if done.returncode:
        return {**facts, "error": done.stderr.strip()[-200:]}
    facts["peak_rss_mib"] = memory_of(command)[0]
    manifest, held = read_bundle(out)
    files[way] = out.with_suffix(f".{target}")
    files[way].write_bytes(held[manifest.model_file.path])
    return facts


def _theirs(way: str, at: Home | str, function: str, source: Path, room: Path, files: dict[str, Path]) -> dict[str, Any]:
    """One call of a peer that writes one file."""
    copy = room / function / source.name
    copy.parent.mkdir()
    shutil.copyfile(source, copy)
    out = copy.with_name(f"out{source.suffix}")
    facts = _made(at, function, copy, room, out)
    facts["kept"] = _same(copy, source)
    if out.is_file():
        files[way] = out
    return facts


def _made(at: Home | str, function: str, source: Path, room: Path, out: Path) -> dict[str, Any]:
    if isinstance(at, str):
        return {"absent": at}
    command = [str(at.python), str(SCRIPT), function, str(source), str(room / "calibration.npy"), str(out)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    facts: dict[str, Any] = {"wall_s": time.perf_counter() - began, "status": done.returncode}
    if done.returncode:
        return {**facts, "error": done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else "it said nothing"}
    return {**facts, **json.loads(done.stdout.strip().splitlines()[-1])}


def _through_tflite(net: str, room: Path, homes: dict[str, Home | str], files: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """onnx2tf's own int8, and its float file through Google's quantizer."""
    found: dict[str, dict[str, Any]] = {}
    for function, way in (("onnx2tf", "onnx2tf -oiqt"), ("onnx2tf_float", "onnx2tf, then ai-edge-quantizer")):
        out = room / function
        out.mkdir()
        copy = room / f"{function}-in" / f"{net}.onnx"
        copy.parent.mkdir()
        shutil.copyfile(model(net), copy)
        found[way] = {**_made(homes["onnx2tf"], function, copy, room, out), "kept": _same(copy, model(net))}
    made = sorted((room / "onnx2tf").glob("*_full_integer_quant.tflite"))
    if made:
        files["onnx2tf -oiqt"] = made[0]
    plain = sorted((room / "onnx2tf_float").glob("*_float32.tflite"))
    if plain:
        second = _made(homes["ai-edge-quantizer"], "ai_edge_quantizer", plain[0], room, room / "aeq.tflite")
        found[way] = _both(found[way], second)
        if (room / "aeq.tflite").is_file():
            files[way] = room / "aeq.tflite"
    return found


def _both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Two steps as one: times add up, memory is the larger."""
    if "absent" in second:
        return {**first, **second}
    peak = max(first.get("peak_rss_mib", 0.0), second.get("peak_rss_mib", 0.0))
    return {**first, **second, "wall_s": first["wall_s"] + second["wall_s"], "peak_rss_mib": peak}


def _same(copy: Path, source: Path) -> bool:
    return sha256_file(copy) == sha256_file(source)


def _answers(path: Path, room: Path) -> Any:
    """Real-valued answers to the test images; a text when the file does not load or run."""
    done = _judge(room, [path], images="test.npy", answers=str(room))
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        return said[-1][:160]
    return np.load(room / "0.npy")


def _time(net: str, room: Path, files: dict[str, Path], found: dict[str, dict[str, Any]]) -> None:
    """Adds the latency, and how many times as fast as the float original in ONNX Runtime."""
    done = _judge(room, [model(net), *files.values()], images="timed.npy", budget_s=TIMED_S)
    source, *rounds = json.loads(done.stdout)
    for way, spent in zip(files, rounds, strict=True):
        found[way].update(us=latency(spent).median_us, faster=ratio(source, spent).median)


def _judge(room: Path, paths: Sequence[Path], *, images: str, **more: Any) -> subprocess.CompletedProcess[str]:
    order = {"paths": [str(path) for path in paths], "images": str(room / images), **more}
    command = [sys.executable, "-m", "benchmarks.convert.peers_judge", json.dumps(order)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def lines(figures: dict[str, Any]) -> list[str]:
    told = [f"  {peer}: {_told(at)}" for peer, at in figures["homes"].items()]
    rows = [["network, way", "dB", "points lost", "kB", "smaller", "us", "faster", "wall s", "MiB", "source kept"]]
    bad = []
    for net, ways in figures["nets"].items():
        for way, f in ways.items():
            rows.append([f"{net}, {way}", *_cells(f)])
            why = f.get("error") or f.get("broken")
            bad += [f"  {net}, {way}: {'no file' if 'error' in f else 'the file does not run'} ({why})"] if why else []
    return [*told, *table(rows), *bad]


def _cells(f: dict[str, Any]) -> list[str]:
    form = {"sqnr_db": "{:.1f}", "points_lost": "{:.2f}", "bytes": "", "smaller": "{:.1f}x", "us": "{:.1f}", "faster": "{:.2f}x"}
    form |= {"wall_s": "{:.1f}", "peak_rss_mib": "{:.0f}"}
    cells = [f"{f[key] / 1000:.0f}" if key == "bytes" and key in f else (form[key].format(f[key]) if key in f else "-") for key in form]
    return [*cells, "-" if "absent" in f else "yes" if f["kept"] else "NO"]


def _told(at: Any) -> str:
    return at if isinstance(at, str) else f"{at['version']}, {at['mb']:.0f} MB, {at['distributions']} distributions"
