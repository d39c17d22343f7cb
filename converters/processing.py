"""What the user declares about a model's surroundings: the processing file."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.errors import InputError
from converters.gather.said import SamplesSaid, samples_said
from converters.given import read_given
from converters.metrics.said import MetricSaid, metric_said
from converters.state import state_said
from edge_agent.bundle.manifest import StateSpec, Step

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 16 << 20
_ENDLESS_KEY = re.compile(r"^[^=\n\"'#]*(?:\.[^=.\n\"'#]*){1000}", re.MULTILINE)
"""The parser's time grows with the square of the parts of a dotted key."""
DECIDING = ("argmax", "topk", "threshold", "hysteresis")
"""Postprocessing words that make a verdict out of scores."""


@dataclass(frozen=True, slots=True)
class Processing:
    """Steps before and after the model, the names of its classes, how samples that are no arrays are read and models that do not classify
    are measured, and what goes from one window to the next; all may be empty."""

    preprocess: tuple[Step, ...] = ()
    postprocess: tuple[Step, ...] = ()
    labels: tuple[str, ...] = ()
    samples: SamplesSaid = field(default_factory=SamplesSaid)
    metric: MetricSaid = field(default_factory=MetricSaid)
    state: StateSpec | None = None

    @property
    def decides(self) -> bool:
        """Whether the steps end in a class, so that right and wrong can be counted."""
        return any(step.op in DECIDING for step in self.postprocess)


def read_processing(path: Path) -> Processing:
    """The TOML file ``path``: ``labels``, tables ``samples``, ``metric`` and ``state``, and lists of tables ``preprocess`` and
    ``postprocess``, each an ``op`` and its arguments.

    Raises :class:`InputError` naming file and key. Whether the words fit the model is checked once the model is known.
    """
    try:
        text = read_given(path, max_bytes=MAX_BYTES).decode("utf-8")
        if _ENDLESS_KEY.search(text):
            raise InputError(f"{path}: is not TOML that anybody wrote: a key of more than a thousand parts")
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not TOML ({error})") from None
    unknown = sorted(set(tree) - {"labels", "preprocess", "postprocess", "samples", "metric", "state"})
    if unknown:
        raise InputError(f"{path}: {unknown[0]}: is not known here; there are labels, preprocess, postprocess, samples, metric and state")
    said = samples_said(path, tree.get("samples", {}))
    metric = metric_said(path, tree.get("metric", {}))
    labels = tree.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{path}: labels: must be a list of strings")
    steps = _steps(path, tree, "preprocess"), _steps(path, tree, "postprocess")
    return Processing(*steps, tuple(labels), said, metric, state_said(path, tree))


def _steps(path: Path, tree: Mapping[str, Any], key: str) -> tuple[Step, ...]:
    tables = tree.get(key, [])
    if not isinstance(tables, list):
        raise InputError(f"{path}: {key}: must be a list of tables ([[{key}]])")
    steps = []
    for index, table in enumerate(tables):
        if not isinstance(table, dict) or not isinstance(table.get("op"), str):
            raise InputError(f"{path}: {key}[{index}].op: must be there and be text")
        steps.append(Step(table["op"], {name: value for name, value in table.items() if name != "op"}))
    return tuple(steps)
