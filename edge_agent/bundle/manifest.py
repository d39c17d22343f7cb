"""The manifest: what a bundle says of itself, as types, and its canonical bytes. It is read in :mod:`edge_agent.bundle.manifest_reader`.

The manifest is JSON inside the bundle (``manifest.json``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_agent.values import TensorSpec

FORMAT = 1
STATE_FORMAT = 2
"""Format of a bundle whose model has state: a reader of format 1 must refuse it, since it would ignore ``state`` and serve it wrongly."""
WEIGHTS_FORMAT = 3
"""Format of a bundle whose weights lie in a file beside the model's, with state or without."""
FORMATS = (FORMAT, STATE_FORMAT, WEIGHTS_FORMAT)
ROLES = ("model", "weights", "golden", "report")
MANIFEST_NAME = "manifest.json"
RUNTIMES = ("onnx", "tflite")
ON_SWAP = ("reset", "carry")
ON_GAP = ("keep", "reset")
IN_GRAPH = ("reset", "keep")
MAX_MANIFEST_BYTES = 1 << 20
MAX_RANK = 16

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")


def valid_name(text: str) -> bool:
    """Whether a model may be called ``text``."""
    return NAME.fullmatch(text) is not None


def valid_version(text: str) -> bool:
    """Whether a version of a model may be called ``text``."""
    return VERSION.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the bundle besides the manifest. ``role``: one of :data:`ROLES`."""

    path: str
    role: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RuntimeRequirement:
    """Which runtime runs the model: ``name`` onnx or tflite, ``minimum`` version, versions known to be wrong."""

    name: str
    minimum: str = ""
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One declarative step of pre- or postprocessing: a word and its numbers. The words are in docs/steps.md."""

    op: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoldenTensor:
    """Raw little-endian C-order tensor in file ``path`` with concrete ``shape``."""

    name: str
    path: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One input and what the model must answer, within ``atol`` + ``rtol`` * |expected| (in stored units for integers)."""

    inputs: tuple[GoldenTensor, ...]
    outputs: tuple[GoldenTensor, ...]
    atol: float = 1e-4
    rtol: float = 1e-4


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the device must have. Empty or zero means no demand. ``latency_p95_ms`` and ``peak_rss_mib`` are the trial's budget, and
    ``shadow_disagreement`` the share of windows that may get another label than from the serving version, where both are asked."""

    profiles: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    ram_mib: int = 0
    agent: str = ""
    latency_p95_ms: float = 0.0
    peak_rss_mib: float = 0.0
    shadow_disagreement: float = 0.0


@dataclass(frozen=True, slots=True)
class StatePair:
    """The output ``output`` of one inference is the input ``input`` of the next; ``initial`` is every element of the first, as a real
    number (a quantized tensor stores it by its scale and zero point). Both tensors have one dtype, shape, scale and zero point."""

    input: str
    output: str
    initial: float = 0.0


@dataclass(frozen=True, slots=True)
class StateSpec:
    """What the model remembers from one window to the next.

    ``on_swap``: a new version begins with ``reset`` state or has it ``carry`` over where its pairs have equal tensors (the new version's
    word counts). ``on_gap``: what missing samples do, ``keep`` or ``reset``. ``in_graph``: variables inside the network (TensorFlow Lite)
    start each inference anew (``reset``) or last (``keep``); what is kept there cannot be carried, replayed or shared by two streams.
    """

    pairs: tuple[StatePair, ...] = ()
    on_swap: str = "reset"
    on_gap: str = "keep"
    in_graph: str = "reset"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All a device needs to know to serve a model, and all a person needs to trust it.

    ``quality`` and ``recipe`` are JSON objects written by the converter: the gate's verdict, and how to make the same bytes again.
    ``source_sha256`` is the hash of the file the user gave. ``created`` is RFC 3339; it is taken from the recipe so that bytes repeat.
    """

    name: str
    version: str
    runtime: RuntimeRequirement
    files: tuple[FileEntry, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: tuple[Step, ...] = ()
    postprocess: tuple[Step, ...] = ()
    labels: tuple[str, ...] = ()
    requires: Requirements = field(default_factory=Requirements)
    quality: Mapping[str, Any] = field(default_factory=dict)
    golden: tuple[GoldenCase, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    source_sha256: str = ""
    created: str = ""
    state: StateSpec | None = None

    @property
    def format(self) -> int:
        """The lowest format that says all of this."""
        if self.weights_files:
            return WEIGHTS_FORMAT
        return FORMAT if self.state is None else STATE_FORMAT

    @property
    def keeps_state_in_graph(self) -> bool:
        """Whether the loaded model itself remembers, so that it may answer one stream only and must not be reset between windows."""
        return self.state is not None and self.state.in_graph == "keep"

    @property
    def model_file(self) -> FileEntry:
        """The one file with role ``model``."""
        return next(entry for entry in self.files if entry.role == "model")

    @property
    def weights_files(self) -> tuple[FileEntry, ...]:
        """The files beside the model's that hold its weights; none when they are inside."""
        return tuple(entry for entry in self.files if entry.role == "weights")

    @property
    def model_bytes(self) -> int:
        """Of the model, weights beside it included."""
        return sum(entry.bytes for entry in (self.model_file, *self.weights_files))


def fed_inputs(manifest: Manifest) -> tuple[TensorSpec, ...]:
    """The inputs that preprocessing makes from a window: all but those that take the state."""
    taken = {pair.input for pair in manifest.state.pairs} if manifest.state else set()
    return tuple(spec for spec in manifest.inputs if spec.name not in taken)


def read_outputs(manifest: Manifest) -> tuple[TensorSpec, ...]:
    """The outputs that postprocessing may read: all but those that give the next state."""
    given = {pair.output for pair in manifest.state.pairs} if manifest.state else set()
    return tuple(spec for spec in manifest.outputs if spec.name not in given)


def to_json(manifest: Manifest) -> bytes:
    """Canonical bytes: sorted keys, two-space indent, one newline at the end; the same manifest gives the same bytes."""
    tree = asdict(manifest) | {"format": manifest.format}
    if manifest.state is None:
        del tree["state"]
    return (json.dumps(tree, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()
