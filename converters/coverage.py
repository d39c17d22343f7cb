"""The table of operators in ``docs/operators.md``, made from the tables that the converter itself works with.

``python -m converters.coverage`` writes it; with ``--check`` it only says whether the file is current (exit 1 when it is not).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from converters.loaders.tflite_readers import READERS
from converters.passes.linear import LINEAR_OPS
from converters.passes.plain_operators import REWRITTEN
from converters.passes.recurrent_cells import CELLS
from converters.targets.onnx_plan import JOINING, MOVING
from converters.targets.tflite_ops.forms import FORMS
from converters.targets.tflite_ops.table import FLOAT_ONLY, LOWERINGS

FILE = Path(__file__).parents[1] / "docs" / "operators.md"

_FOLDED = ("BatchNormalization", "Constant", "Dropout", "Identity", "Shape", "Upsample")
_RECTIFIERS = ("Clip", "Relu")
_GATED = ("HardSwish",)  # onnx_gates makes integer operators of them
_COLUMNS = ("ONNX operator", "TFLite float", "TFLite int8", "ONNX float", "ONNX int8", "For TFLite")
_INTRODUCTION = """# Operators

Made by `python -m converters.coverage`; a test keeps it current.

## From ONNX

Written: **yes**, in float or as an integer kernel; **float**: computed in float between integer neighbours; **plainer**: said in
other operators of this table first. What is not listed, or not in the form named, is refused for TensorFlow Lite with the operator's and
the node's name; ONNX takes everything ONNX Runtime runs, in float where there is no integer kernel. No custom operator is ever written, and
every version is the lowest that its kernel needs: tflite-runtime 2.14 reads all of them. An operator whose inputs are all constants is
computed beforehand.
"""
_TFLITE = """
## From TensorFlow Lite

Read as a network, which can then be written for either target:
"""


def table() -> str:
    """The whole file."""
    rows = [_row(op) for op in sorted(operators())]
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS)), *(_line(row) for row in rows)]
    return "\n".join([_INTRODUCTION, *lines, _TFLITE, *_wrapped(sorted(READERS)), ""])


def operators() -> frozenset[str]:
    """Every ONNX operator that a target or pass knows by name."""
    return frozenset((*LOWERINGS, *REWRITTEN, *LINEAR_OPS, *JOINING, *MOVING, *_FOLDED))


def _row(op: str) -> list[str]:
    tflite = _tflite(op)
    return [op, "plainer" if tflite == "plainer" else "yes", tflite, "yes", _onnx(op), FORMS.get(op, "")]


def _tflite(op: str) -> str:
    if op in FLOAT_ONLY:
        return "float"
    if op in CELLS or op not in LOWERINGS:
        return "plainer"
    return "yes"


def _onnx(op: str) -> str:
    if op in _FOLDED:
        return "yes"
    return "yes" if op in (*LINEAR_OPS, "MatMul", *JOINING, *MOVING, *_RECTIFIERS, *_GATED) else "float"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _wrapped(words: Iterable[str]) -> list[str]:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > 130:
            lines.append("")
        lines[-1] += f"{', ' if lines[-1] else ''}`{word}`"
    return [line + "," for line in lines[:-1]] + [lines[-1] + "."]


def main(arguments: list[str]) -> int:
    current = table()
    if arguments == ["--check"]:
        stale = not FILE.is_file() or FILE.read_text() != current
        print(f"{FILE.name} is {'stale: run python -m converters.coverage' if stale else 'current'}")
        return int(stale)
    FILE.write_text(current)
    print(f"{FILE.name}: {len(operators())} ONNX operators, {len(READERS)} of TensorFlow Lite")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
