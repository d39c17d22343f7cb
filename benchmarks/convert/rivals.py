"""What ONNX Runtime's own tools make of an ONNX file, by the calls that their documentation gives first."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def made(way: str, model: Path, samples: Path, out: Path, rows: int) -> str:
    """Writes ``out``; empty, or the error it ended with. Calibrates on the first ``rows`` of ``samples``."""
    import onnxruntime

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            logging.getLogger().setLevel(logging.ERROR)
            onnxruntime.set_default_logger_severity(4)
            WAYS[way](model, samples, out, rows)
    except Exception as error:  # whatever they raise is an answer
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    return "" if out.exists() else "wrote nothing"


def _dynamic(model: Path, samples: Path, out: Path, rows: int) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(model), str(out))


def _static(model: Path, samples: Path, out: Path, rows: int, **options: Any) -> None:
    from onnxruntime.quantization import quantize_static

    quantize_static(str(model), str(out), _reader(model, samples, rows), **options)


def _static_best(model: Path, samples: Path, out: Path, rows: int) -> None:
    from onnxruntime.quantization import QuantType

    _static(model, samples, out, rows, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def _float16(model: Path, samples: Path, out: Path, rows: int) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(str(model)), keep_io_types=True), str(out))


WAYS: Mapping[str, Callable[[Path, Path, Path, int], None]] = MappingProxyType(
    {"quantize_dynamic": _dynamic, "quantize_static": _static, "quantize_static, per channel, u8s8": _static_best, "float16": _float16}
)


def _reader(model: Path, samples: Path, rows: int) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader

    graph = onnx.load(str(model), load_external_data=False).graph
    shape = [size.dim_value or 1 for size in graph.input[0].type.tensor_type.shape.dim]
    with np.load(samples) as held:
        feeds = iter([{graph.input[0].name: row.reshape(shape).astype(np.float32)} for row in held[graph.input[0].name][:rows]])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            return next(feeds, None)

    return Reader()
