"""State in and out of a model: what the processing file says of it, what names give away, and how rows are run through a model in turn.

Needs nothing but numpy and what runs on the device: the child in another environment imports it too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from converters.errors import InputError
from edge_agent.bundle.manifest import StatePair, StateSpec
from edge_agent.bundle.manifest_checks import check_state
from edge_agent.bundle.manifest_reader import read_state
from edge_agent.bundle.manifest_tree import JsonTree
from edge_agent.pipeline.state import ModelState
from edge_agent.ports import Runtime
from edge_agent.values import TensorSpec

Specs = tuple[TensorSpec, ...]

_KEYS = {"pairs", "on_swap", "on_gap", "in_graph"}
_PAIR_KEYS = {"input", "output", "initial"}
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_ROLES = frozenset({"in", "out", "input", "output", "next", "new", "prev", "previous", "last", "init", "initial", "n", "t", "0", "1"})


def state_said(path: Path, tree: Mapping[str, Any]) -> StateSpec | None:
    """The table ``state`` of a processing file, ``None`` without one. Raises :class:`InputError` naming file and key."""
    if "state" not in tree:
        return None
    j = JsonTree()
    said = read_state(j, tree)
    table = tree["state"] if isinstance(tree["state"], dict) else {}
    unknown = [f"state.{key}" for key in sorted(set(table) - _KEYS)]
    pairs = table.get("pairs", [])
    for i, pair in enumerate(pairs if isinstance(pairs, list) else []):
        unknown += [f"state.pairs[{i}].{key}" for key in sorted(set(pair) - _PAIR_KEYS) if isinstance(pair, dict)]
    if unknown:
        raise InputError(f"{path}: {unknown[0]}: is not known here; state has pairs (input, output, initial), on_swap, on_gap and in_graph")
    if j.problems:
        raise InputError(f"{path}: {j.problems[0]}")
    return said


def as_tree(state: StateSpec | None) -> dict[str, Any] | None:
    """``state`` in JSON types."""
    return None if state is None else {**asdict(state), "pairs": [asdict(pair) for pair in state.pairs]}


def from_tree(tree: Mapping[str, Any] | None) -> StateSpec | None:
    """What :func:`as_tree` gave."""
    return None if tree is None else StateSpec(**{**tree, "pairs": tuple(StatePair(**pair) for pair in tree["pairs"])})


def fed(specs: Specs, state: StateSpec | None) -> Specs:
    """The inputs that samples feed: all but those that take the state."""
    return tuple(spec for spec in specs if state is None or spec.name not in {pair.input for pair in state.pairs})


def read(specs: Specs, state: StateSpec | None) -> Specs:
    """The outputs that a verdict reads: all but those that give the next state."""
    return tuple(spec for spec in specs if state is None or spec.name not in {pair.output for pair in state.pairs})


def sized(specs: Specs, sizes: Mapping[str, Sequence[int]]) -> Specs:
    """``specs`` with free dimensions as ``sizes`` says, by input name."""
    return tuple(_filled(spec, tuple(sizes.get(spec.name, ()))) for spec in specs)


def outputs_of(outputs: Specs, inputs: Specs, state: StateSpec | None) -> Specs:
    """``outputs`` with those that give the next state last, and shaped as the inputs that take it where the file leaves that free."""
    shapes = {spec.name: spec.shape for spec in inputs}
    takes = {} if state is None else {pair.output: shapes.get(pair.input, ()) for pair in state.pairs}
    given = (_filled(spec, tuple(size or 1 for size in takes[spec.name])) for spec in outputs if spec.name in takes)
    return (*read(outputs, state), *given)


def _filled(spec: TensorSpec, sizes: tuple[int, ...]) -> TensorSpec:
    if len(sizes) != len(spec.shape):
        return spec
    return replace(spec, shape=tuple(want if size is None else size for size, want in zip(spec.shape, sizes, strict=True)))


def check_declared(state: StateSpec | None, inputs: Specs, outputs: Specs, runtime: str) -> None:
    """Raises :class:`InputError` naming the key of the processing file that does not fit the model."""
    problems = [] if state is None else list(check_state(state, inputs, outputs_of(outputs, inputs, state), runtime))
    if problems:
        raise InputError(f"processing file: {problems[0]}")


def check_undeclared(path: Path, inputs: Specs, outputs: Specs, fed_by_samples: Collection[str]) -> None:
    """Raises :class:`InputError` showing the table to write where inputs that no samples feed and outputs go together like states."""
    pairs = suggested(tuple(spec for spec in inputs if spec.name not in fed_by_samples), outputs)
    if not pairs or len(pairs) == len(inputs):
        return
    said = " and ".join(f"input {pair.input} and output {pair.output}" for pair in pairs)
    tables = "\n".join(f'[[state.pairs]]\ninput = "{pair.input}"\noutput = "{pair.output}"\n' for pair in pairs)
    raise InputError(
        f"{path}: {said} look like state that goes from one window to the next. If so, write into the processing file:\n\n"
        f'[state]\non_swap = "reset"\non_gap = "keep"\n\n{tables}\nIf not, give samples for {pairs[0].input}.'
    )


def suggested(inputs: Specs, outputs: Specs) -> tuple[StatePair, ...]:
    """Inputs and outputs that go together by name (h and hn, state and stateN, c_in and c_out), equal in dtype, rank and known sizes."""
    pairs = []
    for spec in inputs:
        fitting = [other for other in outputs if _alike(spec, other) and _stems(spec.name) & _stems(other.name)]
        if len(fitting) == 1:
            pairs.append(StatePair(spec.name, fitting[0].name))
    return tuple(pairs) if len({pair.output for pair in pairs}) == len(pairs) else ()


def _alike(one: TensorSpec, other: TensorSpec) -> bool:
    sizes = zip(one.shape, other.shape, strict=False)
    return one.dtype == other.dtype and len(one.shape) == len(other.shape) and all(a == b or None in (a, b) for a, b in sizes)


def _stems(name: str) -> frozenset[str]:
    """What is left of a name without the words that say in or out, with and without an n at its end."""
    parts = [part.lower() for part in _PARTS.findall(name)]
    stem = "".join(part for part in parts if part not in _ROLES) or "".join(parts)
    return frozenset({stem, stem[:-1]} if len(stem) > 1 and stem.endswith("n") else {stem})


@dataclass(frozen=True, slots=True)
class _Remembering:
    state: StateSpec | None
    inputs: Specs


class Stream:
    """Rows through one model in turn, its state kept from one to the next and fresh at the positions ``starts``."""

    def __init__(self, runtime: Runtime, state: StateSpec | None, starts: Collection[int] = (0,)) -> None:
        self._runtime = runtime
        self._state = ModelState(_Remembering(state, runtime.inputs))
        self._in_graph = state is not None and state.in_graph == "keep"
        self._starts = frozenset(starts)

    def begin(self) -> None:
        """As a fresh model."""
        self._state.reset()
        if self._in_graph:
            reset: Any = getattr(self._runtime, "reset_state")  # noqa: B009 - only TensorFlow Lite has it
            reset()

    def feed(self, position: int, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """All inputs of the row at ``position``."""
        if position in self._starts:
            self.begin()
        return {**arrays, **self._state.inputs()}

    def hear(self, outputs: Mapping[str, Any]) -> None:
        """Takes the next state from an answer."""
        self._state.commit(outputs)
