"""Spectra against sums written out value by value: no transform of a library and no table of ours is used on the other side."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest

from edge_agent.bundle.manifest import Step
from edge_agent.errors import BundleError, ModelError
from edge_agent.pipeline.preprocess import compile_preprocess
from edge_agent.values import TensorSpec

pytestmark = pytest.mark.filterwarnings("error")

RATE = 8000
SOUND = np.random.default_rng(5).normal(size=400).astype(np.float32)


def run(op: str, args: dict[str, Any], values: Any, shape: tuple[int, ...]) -> Any:
    return compile_preprocess((Step(op, args),), (TensorSpec("x", "float32", shape),))(values)["x"]


def slow_powers(frame: list[float]) -> list[float]:
    """Squared magnitudes of lines 0 to n/2, each the sum that defines it."""
    n = len(frame)
    lines = (sum(v * cmath.exp(-2j * math.pi * k * t / n) for t, v in enumerate(frame)) for k in range(n // 2 + 1))
    return [abs(line) ** 2 for line in lines]


def hann(n: int) -> list[float]:
    return [math.sin(math.pi * t / n) ** 2 for t in range(n)]


@pytest.mark.parametrize("of", ["magnitude", "power", "log"])
@pytest.mark.parametrize("window", ["none", "hann"])
@pytest.mark.parametrize("n", [None, 16, 12, 25])
def test_fft_is_the_sum_that_defines_it(of: str, window: str, n: int | None) -> None:
    values = np.stack([SOUND[:16], SOUND[20:36]], axis=1)
    kept = values[:n]
    weights = hann(len(kept)) if window == "hann" else [1.0] * len(kept)
    padded = [[float(v) * w for v, w in zip(kept[:, c], weights, strict=True)] + [0.0] * ((n or 16) - len(kept)) for c in (0, 1)]
    powers = np.array([slow_powers(frame) for frame in padded]).T
    wanted = {"magnitude": np.sqrt(powers), "power": powers, "log": np.log(np.maximum(powers, 1e-10))}[of]
    args = {"of": of, "window": window} | ({"n": n} if n else {})
    assert np.allclose(run("fft", args, values, wanted.shape), wanted, rtol=1e-5, atol=1e-5)


def test_fft_runs_along_another_axis_and_through_silence() -> None:
    rows = SOUND[:32].reshape(2, 16)
    assert np.allclose(run("fft", {"axis": 1}, rows, (2, 9)), run("fft", {}, rows.T, (9, 2)).T)
    assert np.allclose(run("fft", {"of": "log", "floor": 1e-6}, np.zeros((8, 1), np.float32), (5, 1)), math.log(1e-6))


def to_mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return 1127.01048 * math.log(1 + hz / 700)
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def to_hz(mel: float, scale: str) -> float:
    if scale == "htk":
        return 700 * (math.exp(mel / 1127.01048) - 1)
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def slow_log_mel(args: dict[str, Any]) -> list[list[float]]:
    """Frames, windows, lines, triangles and logarithms as the documentation says, one by one."""
    size, frame, hop, bands = args["n_fft"], args.get("frame", args["n_fft"]), args["hop"], args["n_mels"]
    signal, before = [float(v) for v in SOUND], 0
    if args.get("centre", True):
        half = size // 2
        left, right = signal[half:0:-1], signal[-2 : -half - 2 : -1]
        zeros = [0.0] * half
        signal = left + signal + right if args.get("border") == "reflect" else zeros + signal + zeros
        before = (size - frame) // 2
    reach = size if args.get("centre", True) else frame
    weights = [0.0] * before + hann(frame) + [0.0] * (size - before - frame)
    scale, top = args.get("scale", "slaney"), args.get("fmax", RATE / 2)
    low, high = to_mel(args.get("fmin", 0.0), scale), to_mel(top, scale)
    edges = [low + (high - low) * i / (bands + 1) for i in range(bands + 2)]
    rows = []
    for start in range(0, len(signal) - reach + 1, hop):
        piece = (signal[start : start + reach] + [0.0] * size)[:size]
        powers = slow_powers([v * w for v, w in zip(piece, weights, strict=True)])
        lines = [power ** (args.get("power", 2) / 2) for power in powers]
        row = []
        for band in range(bands):
            a, b, c = edges[band : band + 3]
            wide = to_hz(c, scale) - to_hz(a, scale)
            total = 0.0
            for k, line in enumerate(lines):
                at = k * RATE / size
                if args.get("triangles") == "mel":
                    at, x, y, z = to_mel(at, scale), a, b, c
                else:
                    x, y, z = (to_hz(edge, scale) for edge in (a, b, c))
                total += line * max(0.0, min((at - x) / (y - x), (z - at) / (z - y))) * (2 / wide if args.get("norm") != "none" else 1)
            value = max(total + args.get("offset", 0.0), args.get("floor", 1e-10))
            row.append(
                {"ln": math.log, "log10": math.log10, "db": lambda v: 10 * math.log10(v), "none": float}[args.get("log", "ln")](value)
            )
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    "args",
    [
        {"n_fft": 64, "hop": 32, "n_mels": 10},
        {"n_fft": 64, "hop": 50, "n_mels": 8, "border": "reflect", "log": "db"},
        {"n_fft": 64, "frame": 40, "hop": 20, "n_mels": 6, "scale": "htk", "norm": "none", "power": 1, "log": "log10"},
        {"n_fft": 64, "frame": 50, "hop": 40, "n_mels": 9, "centre": False, "fmin": 100, "fmax": 3500, "offset": 1e-6},
        {
            "n_fft": 64,
            "hop": 64,
            "n_mels": 7,
            "centre": False,
            "scale": "htk",
            "triangles": "mel",
            "norm": "none",
            "fmin": 20,
            "log": "none",
        },
    ],
)
def test_log_mel_is_what_the_document_says(args: dict[str, Any]) -> None:
    wanted = np.array(slow_log_mel(args))
    assert np.allclose(run("log_mel", {"rate_hz": RATE, **args}, SOUND[:, np.newaxis], wanted.shape), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("extra", [{}, {"n_mfcc": 5}, {"n_mfcc": 6, "keep": [1, 2, 5]}, {"dct": "htk", "n_mfcc": 4}])
def test_mfcc_is_the_cosine_sum_of_log_mel(extra: dict[str, Any]) -> None:
    args = {"n_fft": 64, "hop": 100, "n_mels": 12}
    kept = extra.get("keep", list(range(extra.get("n_mfcc", 12))))
    wanted = []
    for row in slow_log_mel(args):
        sums = [sum(v * math.cos(math.pi * k * (2 * i + 1) / 24) for i, v in enumerate(row)) for k in kept]
        roots = [math.sqrt(1 / 12) if k == 0 and "dct" not in extra else math.sqrt(2 / 12) for k in kept]
        wanted.append([total * root for total, root in zip(sums, roots, strict=True)])
    got = run("mfcc", {"rate_hz": RATE, **args, **extra}, SOUND, np.shape(wanted))
    assert np.allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_the_default_hop_is_a_quarter_and_frames_are_as_many_as_librosas() -> None:
    assert run("log_mel", {"rate_hz": RATE, "n_fft": 64, "n_mels": 4}, SOUND, (1 + 400 // 16, 4)).shape == (26, 4)


def test_sound_of_whole_numbers_needs_no_conversion_before() -> None:
    whole = np.round(SOUND * 1000).astype(np.int16)
    args = {"rate_hz": RATE, "n_fft": 64, "hop": 64, "n_mels": 8}
    assert np.array_equal(run("log_mel", args, whole, (7, 8)), run("log_mel", args, whole.astype(np.float32), (7, 8)))


MEL = {"rate_hz": RATE, "n_fft": 64}


@pytest.mark.parametrize(
    ("op", "args", "words"),
    [
        ("fft", {"of": "phase"}, "args.of: 'phase' is not one of magnitude, power, log"),
        ("fft", {"n": 1 << 20}, "args.n: must be a whole number, 1 or more, at most 16384"),
        ("fft", {"window": "kaiser"}, "args.window"),
        ("fft", {"floor": 0}, "args.floor: must be greater than 0"),
        ("log_mel", {"n_fft": 64}, "args.rate_hz: is missing"),
        ("log_mel", {"rate_hz": RATE}, "args.n_fft: is missing"),
        ("log_mel", {**MEL, "frame": 65}, "args.frame"),
        ("log_mel", {**MEL, "hop": 0}, "args.hop"),
        ("log_mel", {**MEL, "n_mels": 257}, "args.n_mels"),
        ("log_mel", {**MEL, "fmin": 5000}, "args.fmin: must be 0 or more and below fmax"),
        ("log_mel", {**MEL, "fmax": 4001}, "args.fmax: must not be above half the rate (4000 Hz)"),
        ("log_mel", {**MEL, "scale": "bark"}, "args.scale"),
        ("log_mel", {**MEL, "power": 3}, "args.power"),
        ("log_mel", {**MEL, "log": "log2"}, "args.log"),
        ("log_mel", {**MEL, "n_mfcc": 3}, "args.n_mfcc: is not known to this step"),
        ("mfcc", {**MEL, "n_mels": 10, "n_mfcc": 11}, "args.n_mfcc"),
        ("mfcc", {**MEL, "n_mels": 10, "n_mfcc": 4, "keep": [4]}, "args.keep"),
        ("mfcc", {**MEL, "keep": [1, 1]}, "args.keep"),
    ],
)
def test_wrong_arguments_are_named(op: str, args: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        run(op, args, SOUND, (1,))
    assert f"preprocess[0].{words}" in str(caught.value)


@pytest.mark.parametrize(
    ("op", "args", "values", "words"),
    [
        ("fft", {"axis": 3}, SOUND, "preprocess[0] (fft): does not fit"),
        ("fft", {"n": 16_384}, np.zeros((1, 2000), np.float32), "are allowed"),
        ("log_mel", {**MEL, "centre": False}, SOUND[:63], "63 samples are fewer than one frame of 64"),
        ("log_mel", {**MEL, "border": "reflect"}, SOUND[:32], "too few to be reflected"),
        ("log_mel", MEL, np.zeros((100, 2), np.float32), "needs one channel; select one before"),
        ("log_mel", {"rate_hz": RATE, "n_fft": 16_384, "hop": 1}, SOUND, "are allowed"),
    ],
)
def test_windows_that_do_not_fit_are_model_errors(op: str, args: dict[str, Any], values: Any, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        run(op, args, values, (1,))
    assert words in str(caught.value)
