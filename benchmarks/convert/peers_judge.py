"""The child that loads files which others wrote: ``python -m benchmarks.convert.peers_judge '{"paths": [...], "images": ..., ...}'``.

With ``answers`` (a folder) it leaves each file's real-valued outputs there; with ``budget_s`` it prints the microseconds of an inference in
rounds, all files in turn on one thread. Inputs are laid out and quantized as each file wants them before the clock runs. Like the other
timings here it does without matrix tiles, which no board has.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert.bare import without_tiles
from converters.timing import measure
from edge_agent.clock import SystemClock

Feeds = list[dict[str, Any]]
Run = Callable[[Mapping[str, Any]], Any]


def opened(path: Path, pixels: Any) -> tuple[Run, Feeds, Callable[[Any], Any]]:
    """What runs it, the feeds it wants for ``pixels`` (images, channels, height, width), and how its answers become real numbers."""
    if path.suffix == ".onnx":
        return _opened_onnx(path, pixels)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, wanted = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    feeds = [{"x": _fitting(image, given)} for image in pixels]

    def run(feed: Mapping[str, Any]) -> Any:
        interpreter.set_tensor(given["index"], feed["x"])
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"])

    scale, zero = wanted["quantization"]
    return run, feeds, lambda codes: (codes.astype(np.float64) - zero) * scale if scale else codes


def _opened_onnx(path: Path, pixels: Any) -> tuple[Run, Feeds, Callable[[Any], Any]]:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda feed: session.run(None, feed)[0], [{name: image[None]} for image in pixels], lambda answer: answer


def _fitting(image: Any, given: Mapping[str, Any]) -> Any:
    """One image (channels, height, width) as the input has it: channels last where it says so, quantized by its own scale."""
    shape = tuple(given["shape"])
    laid = image[None] if shape[1:] == image.shape else image.transpose(1, 2, 0)[None]
    scale, zero = given["quantization"]
    if not scale or given["dtype"] == np.float32:
        return np.ascontiguousarray(laid.reshape(shape), np.float32)
    limits = np.iinfo(given["dtype"])
    return np.clip(np.rint(laid.reshape(shape) / scale) + zero, limits.min, limits.max).astype(given["dtype"])


def main() -> None:
    order = json.loads(sys.argv[1])
    held = without_tiles()
    pixels = np.load(order["images"])
    files = [opened(Path(path), pixels) for path in order["paths"]]
    if "answers" in order:
        for at, (run, feeds, real) in enumerate(files):
            np.save(Path(order["answers"]) / f"{at}.npy", np.stack([np.array(real(run(feed))).reshape(-1) for feed in feeds]))
        print("[]")
    else:
        print(json.dumps(measure([(run, feeds) for run, feeds, _ in files], SystemClock(), budget_s=order["budget_s"])))
    del held


if __name__ == "__main__":
    main()
