"""The child that times bare runtime calls, so that neither our wrapper nor matrix tiles colour them: ``python -m benchmarks.convert.bare``.

Some server processors have matrix tiles (AMX), and LiteRT's kernels for them take the same time for 4 channels as for 64, at 16 rows a go.
No board has them. Linux refuses them to a process whose signal stack is too small for their state, so that is how they are put aside.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.timing import measure
from edge_agent.clock import SystemClock

SMALL_STACK_BYTES = 8192
"""Enough for AVX-512's state, too small for that of the tiles (Linux, Documentation/arch/x86/xstate.rst)."""


class ThreadClock(SystemClock):
    """Processor time of this thread, which does all the work: what else the machine does then only warms its caches, and takes no time."""

    def monotonic_ns(self) -> int:
        return time.thread_time_ns()


class _Stack(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def without_tiles() -> Any:
    """Makes the kernel refuse matrix tiles to this thread from now on; what it returns must be kept."""
    memory = ctypes.create_string_buffer(SMALL_STACK_BYTES)
    stack = _Stack(ctypes.addressof(memory), 0, SMALL_STACK_BYTES)
    if ctypes.CDLL(None, use_errno=True).sigaltstack(ctypes.byref(stack), None):
        raise OSError(ctypes.get_errno(), "sigaltstack")
    return memory


def call(path: Path) -> Callable[[Mapping[str, Any]], Any]:
    """One inference on one thread: input in, output out, by the runtime's own functions."""
    if path.suffix == ".onnx":
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda feed: session.run(None, feed)
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, wanted = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(feed: Mapping[str, Any]) -> Any:
        interpreter.set_tensor(given, feed["image"])
        interpreter.invoke()
        return interpreter.get_tensor(wanted)

    return run


def main() -> None:
    """Reads paths, a file of images, the budget and whether tiles stay from the command line; prints rounds as JSON."""
    order = json.loads(sys.argv[1])
    held = None if order["tiles"] else without_tiles()
    feeds = [{"image": image[None]} for image in np.load(order["images"])]
    print(json.dumps(measure([(call(Path(path)), feeds) for path in order["paths"]], ThreadClock(), budget_s=order["budget_s"])))
    del held


if __name__ == "__main__":
    main()
