"""What preprocessing and postprocessing cost: microseconds a window of declared steps, inputs written where they are told."""

from __future__ import annotations

import argparse
import json
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import Step
from edge_agent.pipeline.postprocess import compile_postprocess
from edge_agent.pipeline.preprocess import compile_preprocess
from edge_agent.values import TensorSpec

ROUND_S = 0.1
ROUNDS = 5


def steps() -> dict[str, object]:
    """Of each case by name, the fastest of five rounds."""
    random = np.random.default_rng(1)
    window = random.normal(size=(128, 3)).astype(np.float32)
    frame = random.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    small = np.ascontiguousarray(frame[:224, :224])
    sound = random.normal(size=(16_000, 1)).astype(np.float32)
    real, picture = (1, 128, 3), (1, 224, 224, 3)
    shrink = Step("resize", {"size": [224, 224]})
    channels = Step("normalize", {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]})
    mel: dict[str, Any] = {"rate_hz": 16_000, "n_fft": 512, "frame": 480, "hop": 320, "n_mels": 40}
    cases: dict[str, tuple[Any, TensorSpec, tuple[Step, ...]]] = {
        "window (128, 3), no steps": (window, TensorSpec("x", "float32", real), ()),
        "window (128, 3), normalize": (window, TensorSpec("x", "float32", real), (Step("normalize", {"mean": [1, 2, 3], "std": 2.0}),)),
        "window (128, 3), to int8": (window, TensorSpec("x", "int8", real, 0.02, 3), ()),
        "picture 224x224, raw bytes": (small, TensorSpec("x", "uint8", picture, 0.01, 9), (Step("raw"),)),
        "picture 224x224, scale, to int8": (small, TensorSpec("x", "int8", picture, 1 / 255, -128), (Step("scale", {"factor": 1 / 255}),)),
        "picture 224x224, normalize by colour": (small, TensorSpec("x", "float32", picture), (channels,)),
        "640x480 to 224x224, nearest": (
            frame,
            TensorSpec("x", "uint8", picture),
            (Step("resize", {"size": [224, 224], "method": "nearest"}),),
        ),
        "640x480 to 224x224, bilinear": (frame, TensorSpec("x", "uint8", picture), (shrink,)),
        "640x480 to 224x224, area": (frame, TensorSpec("x", "uint8", picture), (Step("resize", {"size": [224, 224], "method": "area"}),)),
        "1 s of sound at 16 kHz, log_mel": (sound, TensorSpec("x", "float32", (1, 51, 40)), (Step("log_mel", mel),)),
        "1 s of sound at 16 kHz, mfcc": (sound, TensorSpec("x", "float32", (1, 51, 10)), (Step("mfcc", {**mel, "n_mfcc": 10}),)),
    }
    return {**{name: _preprocess_us(*case) for name, case in cases.items()}, **_postprocess_us(random)}


def _preprocess_us(values: Any, spec: TensorSpec, chain: tuple[Step, ...]) -> float:
    preprocess = compile_preprocess(chain, (spec,))
    out = {spec.name: np.empty([size or 1 for size in spec.shape], spec.dtype)}
    return _fastest_us(lambda: preprocess(values, out))


def _postprocess_us(random: Any) -> dict[str, float]:
    scores = {"y": random.normal(size=(1, 12)).astype(np.float32)}
    decide = compile_postprocess((Step("softmax"), Step("argmax")), (TensorSpec("y", "float32", (1, 12)),), ())
    smooth = (Step("smooth", {"windows": 8}), Step("hysteresis", {"on": 0.8, "off": 0.2}))
    steady = compile_postprocess(smooth, (TensorSpec("y", "float32", (1, 12)),), ())
    answers = random.uniform(size=(1, 84, 8400)).astype(np.float32)
    answers[:, :4] *= 640
    answers[:, 4:] *= 0.2
    answers[:, 4:, ::420] *= 4
    find = Step("boxes", {"kind": "yolov8", "size": [640, 640], "min_score": 0.25})
    detect = compile_postprocess((find,), (TensorSpec("y", "float32", answers.shape),), ())
    return {
        "12 scores, softmax and argmax": _fastest_us(lambda: decide(scores)),
        "12 scores, smoothed over 8 windows, hysteresis": _fastest_us(lambda: steady(scores)),
        "boxes, yolov8, 80 classes, 8400 answers": _fastest_us(lambda: detect({"y": answers})),
    }


def _fastest_us(call: Callable[[], object]) -> float:
    timer = timeit.Timer(call)
    once_s = max(timer.timeit(3) / 3, 1e-7)
    number = max(1, int(ROUND_S / once_s))
    return round(min(timer.repeat(ROUNDS, number)) / number * 1e6, 2)


def lines(figures: dict[str, object]) -> list[str]:
    return [f"  {name:48s} {us!s:>10} us" for name, us in figures.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    figures = steps()
    print(json.dumps(figures, indent=2) if parser.parse_args().json else "\n".join(lines(figures)))


if __name__ == "__main__":
    main()
