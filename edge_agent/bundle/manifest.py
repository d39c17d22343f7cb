"""The manifest: what a bundle says of itself. Read and written here and nowhere else.

The manifest is JSON inside the bundle (``manifest.json``). Reading is strict: an unknown format number, a missing key, a wrong
type, a name that could leave the folder are errors that name the key. Unknown keys are ignored so that newer writers can add some.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_agent.errors import BundleError, Problem
from edge_agent.values import DTYPES, TensorSpec

FORMAT = 1
MANIFEST_NAME = "manifest.json"
RUNTIMES = ("onnx", "tflite")
MAX_MANIFEST_BYTES = 1 << 20
MAX_RANK = 16

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_PATH = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/){0,3}[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def valid_name(text: str) -> bool:
    """Whether a model may be called ``text``."""
    return _NAME.fullmatch(text) is not None


def valid_version(text: str) -> bool:
    """Whether a version of a model may be called ``text``."""
    return _VERSION.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the bundle besides the manifest. ``role``: model, golden, report."""

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
    """One declarative step of pre- or postprocessing: a word and its numbers. The words are in docs/bundle.md."""

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
    """What the device must have. Empty or zero means no demand. ``latency_p95_ms`` and ``peak_rss_mib`` are the trial's budget."""

    profiles: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    ram_mib: int = 0
    agent: str = ""
    latency_p95_ms: float = 0.0
    peak_rss_mib: float = 0.0


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
    format: int = FORMAT

    @property
    def model_file(self) -> FileEntry:
        """The one file with role ``model``."""
        return next(entry for entry in self.files if entry.role == "model")


def to_json(manifest: Manifest) -> bytes:
    """Canonical bytes: sorted keys, two-space indent, one newline at the end; the same manifest gives the same bytes."""
    tree = asdict(manifest)
    return (json.dumps(tree, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def from_json(data: bytes) -> Manifest:
    """The manifest in ``data``; raises :class:`BundleError` naming every key that is wrong."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST_NAME}: larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        tree = json.loads(data)
        json.dumps(tree, ensure_ascii=False).encode()  # a lone surrogate could be read but never written again
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST_NAME}: not JSON ({error})") from None
    reader = _Reader(tree)
    manifest = reader.manifest()
    if reader.problems:
        raise BundleError("; ".join(f"{MANIFEST_NAME} {p}" for p in reader.problems))
    assert manifest is not None
    return manifest


def _finite(value: float) -> float:
    """``value`` as a float; infinity for a whole number no float can hold."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


class _Reader:
    """Walks the JSON tree, collecting every problem by key path."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self.problems: list[Problem] = []

    def manifest(self) -> Manifest | None:
        tree = self._tree
        if not isinstance(tree, dict):
            self._bad("", "must be a JSON object")
            return None
        number = tree.get("format")
        if number != FORMAT or isinstance(number, bool):
            self._bad("format", f"is {number!r}; this version reads format {FORMAT}")
            return None
        manifest = Manifest(
            name=self._match(tree, "name", _NAME),
            version=self._match(tree, "version", _VERSION),
            runtime=self._runtime(tree),
            files=tuple(self._file(f, f"files[{i}]") for i, f in enumerate(self._list(tree, "files"))),
            inputs=self._specs(tree, "inputs"),
            outputs=self._specs(tree, "outputs"),
            preprocess=self._steps(tree, "preprocess"),
            postprocess=self._steps(tree, "postprocess"),
            labels=self._strings(tree, "labels"),
            requires=self._requires(tree),
            quality=self._object(tree, "quality"),
            golden=tuple(self._case(c, f"golden[{i}]") for i, c in enumerate(self._list(tree, "golden"))),
            recipe=self._object(tree, "recipe"),
            source_sha256=self._text(tree, "source_sha256", ""),
            created=self._text(tree, "created", ""),
        )
        self._cross_check(manifest)
        return manifest

    def _cross_check(self, manifest: Manifest) -> None:
        models = [f for f in manifest.files if f.role == "model"]
        if len(models) != 1:
            self._bad("files", f"must have exactly one file with role model, has {len(models)}")
        paths = [f.path for f in manifest.files]
        if len(set(paths)) != len(paths) or MANIFEST_NAME in paths:
            self._bad("files", "names a path twice or names the manifest")
        if not manifest.inputs or not manifest.outputs:
            self._bad("inputs", "and outputs must each name at least one tensor")
        for key, specs in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
            if len({spec.name for spec in specs}) != len(specs):
                self._bad(key, "names a tensor twice")
        known = {f.path: f for f in manifest.files}
        for i, case in enumerate(manifest.golden):
            for tensor in (*case.inputs, *case.outputs):
                entry = known.get(tensor.path)
                if entry is None:
                    self._bad(f"golden[{i}]", f"names {tensor.path}, which is not in files")
                    continue
                size = DTYPES.get(tensor.dtype, 0)
                for dim in tensor.shape:
                    size *= dim
                if size != entry.bytes:
                    self._bad(f"golden[{i}]", f"{tensor.path} has {entry.bytes} bytes, its shape needs {size}")
            if {t.name for t in case.inputs} != {s.name for s in manifest.inputs}:
                self._bad(f"golden[{i}].inputs", "must name exactly the model's inputs")

    def _bad(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))

    def _get(self, tree: Mapping[str, Any], key: str, kind: type | tuple[type, ...], default: Any, where: str = "") -> Any:
        path = f"{where}.{key}" if where else key
        if key not in tree:
            if default is None:
                self._bad(path, "is missing")
            return default
        value = tree[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._bad(path, f"has the wrong type {type(value).__name__}")
            return default
        return value

    def _text(self, tree: Mapping[str, Any], key: str, default: str | None, where: str = "") -> str:
        return str(self._get(tree, key, str, default, where) or "")

    def _match(self, tree: Mapping[str, Any], key: str, pattern: re.Pattern[str], where: str = "") -> str:
        text = self._text(tree, key, None, where)
        if not pattern.fullmatch(text):
            self._bad(f"{where}.{key}" if where else key, f"{text[:80]!r} is not allowed here")
        return text

    def _number(self, tree: Mapping[str, Any], key: str, default: float, where: str) -> float:
        value = _finite(self._get(tree, key, (int, float), default, where))
        if not 0 <= value < float("inf"):
            self._bad(f"{where}.{key}", "must be a finite number, 0 or more")
            return default
        return value

    def _whole(self, tree: Mapping[str, Any], key: str, where: str) -> int:
        value = self._get(tree, key, int, None, where)
        if value is None or value < 0:
            self._bad(f"{where}.{key}", "must be a whole number, 0 or more")
            return 0
        return int(value)

    def _list(self, tree: Mapping[str, Any], key: str, where: str = "") -> list[Any]:
        return list(self._get(tree, key, list, [], where))

    def _object(self, tree: Mapping[str, Any], key: str) -> dict[str, Any]:
        return dict(self._get(tree, key, dict, {}))

    def _strings(self, tree: Mapping[str, Any], key: str, where: str = "") -> tuple[str, ...]:
        items = self._list(tree, key, where)
        if not all(isinstance(item, str) for item in items):
            self._bad(f"{where}.{key}" if where else key, "must be a list of strings")
            return ()
        return tuple(items)

    def _dict(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._bad(where, "must be an object")
            return {}
        return value

    def _runtime(self, tree: Mapping[str, Any]) -> RuntimeRequirement:
        node = self._object(tree, "runtime")
        name = self._text(node, "name", None, "runtime")
        if name not in RUNTIMES:
            self._bad("runtime.name", f"{name!r} is not one of {', '.join(RUNTIMES)}")
        return RuntimeRequirement(name, self._text(node, "minimum", "", "runtime"), self._strings(node, "excluded", "runtime"))

    def _file(self, value: Any, where: str) -> FileEntry:
        node = self._dict(value, where)
        path = self._match(node, "path", _PATH, where)
        digest = self._match(node, "sha256", _SHA256, where)
        role = self._text(node, "role", None, where)
        if role not in ("model", "golden", "report"):
            self._bad(f"{where}.role", f"{role!r} is not model, golden or report")
        return FileEntry(path, role, self._whole(node, "bytes", where), digest)

    def _shape(self, node: Mapping[str, Any], where: str, *, free: bool) -> tuple[int | None, ...]:
        shape = self._list(node, "shape", where)
        if len(shape) > MAX_RANK:
            self._bad(f"{where}.shape", f"has {len(shape)} dimensions; at most {MAX_RANK} are allowed")
            return ()
        for size in shape:
            whole = isinstance(size, int) and not isinstance(size, bool) and 0 < size <= 1 << 31
            if not whole and not (free and size is None):
                self._bad(f"{where}.shape", f"{size!r} is not a size")
                return ()
        return tuple(shape)

    def _dtype(self, node: Mapping[str, Any], where: str) -> str:
        dtype = self._text(node, "dtype", None, where)
        if dtype not in DTYPES:
            self._bad(f"{where}.dtype", f"{dtype!r} is not one of {', '.join(DTYPES)}")
        return dtype

    def _specs(self, tree: Mapping[str, Any], key: str) -> tuple[TensorSpec, ...]:
        specs = []
        for i, value in enumerate(self._list(tree, key)):
            where = f"{key}[{i}]"
            node = self._dict(value, where)
            scale = node.get("scale")
            zero = node.get("zero_point")
            if scale is not None and not (isinstance(scale, (int, float)) and 0 < _finite(scale) < float("inf")):
                self._bad(f"{where}.scale", "must be a positive number or null")
                scale = None
            if zero is not None and (not isinstance(zero, int) or isinstance(zero, bool) or abs(zero) > 1 << 31):
                self._bad(f"{where}.zero_point", "must be a whole number of 32 bits or null")
                zero = None
            specs.append(
                TensorSpec(
                    self._text(node, "name", None, where),
                    self._dtype(node, where),
                    self._shape(node, where, free=True),
                    None if scale is None else float(scale),
                    zero,
                )
            )
        return tuple(specs)

    def _steps(self, tree: Mapping[str, Any], key: str) -> tuple[Step, ...]:
        steps = []
        for i, value in enumerate(self._list(tree, key)):
            where = f"{key}[{i}]"
            node = self._dict(value, where)
            args = node.get("args", {})
            steps.append(Step(self._text(node, "op", None, where), self._dict(args, f"{where}.args")))
        return tuple(steps)

    def _requires(self, tree: Mapping[str, Any]) -> Requirements:
        node = self._object(tree, "requires")
        return Requirements(
            profiles=self._strings(node, "profiles", "requires"),
            arch=self._strings(node, "arch", "requires"),
            ram_mib=int(self._number(node, "ram_mib", 0, "requires")),
            agent=self._text(node, "agent", "", "requires"),
            latency_p95_ms=self._number(node, "latency_p95_ms", 0, "requires"),
            peak_rss_mib=self._number(node, "peak_rss_mib", 0, "requires"),
        )

    def _tensors(self, node: Mapping[str, Any], key: str, where: str) -> tuple[GoldenTensor, ...]:
        tensors = []
        for i, value in enumerate(self._list(node, key, where)):
            here = f"{where}.{key}[{i}]"
            item = self._dict(value, here)
            shape = tuple(d for d in self._shape(item, here, free=False) if d is not None)
            tensors.append(
                GoldenTensor(self._text(item, "name", None, here), self._match(item, "path", _PATH, here), self._dtype(item, here), shape)
            )
        return tuple(tensors)

    def _case(self, value: Any, where: str) -> GoldenCase:
        node = self._dict(value, where)
        return GoldenCase(
            self._tensors(node, "inputs", where),
            self._tensors(node, "outputs", where),
            self._number(node, "atol", 1e-4, where),
            self._number(node, "rtol", 1e-4, where),
        )


__all__ = [
    "FORMAT",
    "MANIFEST_NAME",
    "FileEntry",
    "GoldenCase",
    "GoldenTensor",
    "Manifest",
    "Requirements",
    "RuntimeRequirement",
    "Step",
    "from_json",
    "to_json",
    "valid_name",
    "valid_version",
]
