"""What the environment must say before numpy or a model runtime is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

ENVIRONMENT: Mapping[str, str] = {
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
"""No telemetry (ONNX Runtime from 1.29 sends some by default; one version listened to the second name only), and no helper threads at
import: a process with one thread can be forked, and BLAS is not what models run on."""

STARTED_WITH: Mapping[str, str] = {
    **ENVIRONMENT,
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "PYTHONNODEBUGRANGES": "1",
}
"""For a process that will load models. Besides, freed memory goes back to the kernel, and code carries no columns for tracebacks (0.3 MiB a
process): glibc and Python read these at their start only."""


def prepare_environment(environment: MutableMapping[str, str] | None = None) -> None:
    """Put :data:`ENVIRONMENT` into this process's environment. How many threads BLAS may have stays as the user set it."""
    target = os.environ if environment is None else environment
    for key, value in ENVIRONMENT.items():
        if key.startswith("ORT_"):
            target[key] = value
        else:
            target.setdefault(key, value)
