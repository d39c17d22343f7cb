"""Runs models through the product's own runtimes and writes their answers: ``arm_probe.py MODELS OUT.json``.

    arm_probe.py --compare NATIVE.json OTHER.json    exit status 1 when they differ

Integer outputs must be the same to the last bit; float ones within a relative 1e-5 and an absolute 1e-6.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

RELATIVE, ABSOLUTE = 1e-5, 1e-6
RUNS = 3


def probe(models: Path) -> dict[str, Any]:
    """The machine's name, the runtimes' versions, and by model and output name the answers to ``RUNS`` inputs."""
    import numpy as np

    from device_profiles.detect import detect
    from edge_agent.runtimes.choose import load_model_file
    from edge_agent.runtimes.installed import installed

    versions = installed()
    found: dict[str, Any] = {"machine": f"{platform.machine()} Python {platform.python_version()}", "runtimes": versions, "models": {}}
    found["profile"] = detect().profile
    for path in sorted(models.iterdir()):
        if path.suffix.lstrip(".") not in versions:
            continue
        runtime = load_model_file(path)
        random = np.random.RandomState(11)  # the legacy generator gives the same numbers in every numpy
        answers = []
        for _ in range(RUNS):
            arrays = {}
            for spec in runtime.inputs:
                shape = tuple(size or 1 for size in spec.shape)
                values = random.uniform(-3, 3, shape) if spec.dtype.startswith("float") else random.randint(-100, 100, shape)
                arrays[spec.name] = np.ascontiguousarray(values.astype(spec.dtype))
            answers.append({name: [str(array.dtype), array.ravel().tolist()] for name, array in runtime.run(arrays).items()})
        found["models"][path.name] = answers
        runtime.close()
    return found


def compare(native: dict[str, Any], other: dict[str, Any]) -> int:
    """Prints a line a model; the number of models that differ, or 1 when nothing was compared."""
    print(f"      {other['machine']}, {other['profile']}, {', '.join(f'{k} {v}' for k, v in other['runtimes'].items())}")
    bad = 0
    for name, answers in other["models"].items():
        worst, kinds = 0.0, set()
        for mine, theirs in zip(native["models"][name], answers, strict=True):
            for output, (dtype, values) in theirs.items():
                kinds.add(dtype)
                worst = max(worst, _difference(dtype, mine[output][1], values))
        verdict = "the same" if worst == 0 else f"largest difference {worst:.2g} of what is allowed"
        bad += worst > 1
        print(f"{'FAIL ' if worst > 1 else 'ok   '} {name:20} {'/'.join(sorted(kinds)):10} {verdict}")
    return bad if other["models"] else 1


def _difference(dtype: str, mine: list[float], theirs: list[float]) -> float:
    """0 for the same, up to 1 for what is allowed."""
    if len(mine) != len(theirs):
        return float("inf")
    if not dtype.startswith("float"):
        return 0.0 if mine == theirs else float("inf")
    return max(abs(a - b) / (ABSOLUTE + RELATIVE * abs(a)) for a, b in zip(mine, theirs, strict=True))


if __name__ == "__main__":
    if sys.argv[1] == "--compare":
        sys.exit(1 if compare(json.loads(Path(sys.argv[2]).read_text()), json.loads(Path(sys.argv[3]).read_text())) else 0)
    Path(sys.argv[2]).write_text(json.dumps(probe(Path(sys.argv[1]))))
