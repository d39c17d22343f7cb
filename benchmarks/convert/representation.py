"""Two ways to hold a network in memory: ONNX's nodes in a frozen shell (ours) and the library onnx-ir. Import, load and write, memory.

Each is measured in fresh interpreters of one environment made for it, on the same file: a chain of 200 convolutions, 59 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5

_MAKE = """
import sys, numpy as np
from onnx import TensorProto, helper, numpy_helper
rng = np.random.default_rng(0)
nodes, held, name = [], [], "x"
for i in range(200):
    held.append(numpy_helper.from_array(rng.normal(size=(90, 90, 3, 3)).astype("f4"), f"w{i}"))
    nodes += [helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], pads=[1] * 4), helper.make_node("Relu", [f"c{i}"], [f"r{i}"])]
    name = f"r{i}"
end = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 90, 16, 16)) for n in ("x", name)]
graph = helper.make_graph(nodes, "g", end[:1], end[1:], held)
open(sys.argv[1], "wb").write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())
"""

_OURS = """
import json, resource, sys, time
a = time.perf_counter()
import onnx
from converters.model import graph_of, to_bytes
b = time.perf_counter()
graph = graph_of(onnx.load(sys.argv[1]))
c = time.perf_counter()
to_bytes(graph.edited(graph.nodes))
d = time.perf_counter()
"""

_IR = """
import json, resource, sys, time
a = time.perf_counter()
import onnx_ir
b = time.perf_counter()
model = onnx_ir.load(sys.argv[1])
c = time.perf_counter()
onnx_ir.serde.serialize_model(model).SerializeToString()
d = time.perf_counter()
"""

_PRINT = """
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"import_s": b - a, "load_s": c - b, "write_s": d - c, "peak_mib": peak / 1024}))
"""


def measure() -> dict[str, object]:
    """Medians of import, load and write seconds and of the peak of memory, for both."""
    with tempfile.TemporaryDirectory(prefix="edge-ir-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "onnx-ir", "numpy", "onnx"], check=True)
        model = Path(folder) / "model.onnx"
        subprocess.run([python, "-c", _MAKE, model], check=True)
        return {name: _measured(python, code, model) for name, code in (("ours", _OURS), ("onnx-ir", _IR))}


def lines(figures: dict[str, object]) -> list[str]:
    made = []
    for name, f in figures.items():
        assert isinstance(f, dict)
        made.append(
            f"  {name:10} import {f['import_s']:.2f} s, load {f['load_s']:.2f} s, write {f['write_s']:.2f} s, peak {f['peak_mib']:.0f} MiB"
        )
    return made


def _measured(python: Path, code: str, model: Path) -> dict[str, float]:
    runs = []
    for _ in range(RUNS):
        command = [str(python), "-c", code + _PRINT, str(model)]
        done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
        runs.append(json.loads(done.stdout))
    return {key: median(run[key] for run in runs) for key in runs[0]}
